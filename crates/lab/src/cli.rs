//! The subcommands of `lab`, each a line that leads to its module.

use clap::{Parser, Subcommand};

/// Build and run a network-provisioning lab.
#[derive(Debug, Parser)]
#[command(name = "lab", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stop every VM and delete all that this lab made.
    Clean(crate::down::CleanArgs),
    /// Check lab.toml and write it out for each consumer.
    Config(crate::config::Args),
    /// Find out what this machine has, and write it to build/host.toml.
    Configure(crate::host::Args),
    /// Attach to a VM's serial console.
    Console(crate::console::Args),
    /// Write the content disk: kernel, initrd with the installer, image.
    Content(crate::server::content::Args),
    /// Stop every VM; disks stay.
    Down(crate::down::DownArgs),
    /// Make the lab's SSH key, the server's host key and a `known_hosts` file.
    Keys(crate::keys::Args),
    /// Ask each service of the server for something real, as a machine would.
    Probe(crate::probe::Args),
    /// Wait for the server; bring what it serves up to date.
    Server(crate::server::cli::Args),
    /// Say where the packets of the lab segment are captured.
    Pcap(crate::capture::Args),
    /// Install targets anew.
    Reprovision(crate::target::ReprovisionArgs),
    /// Write the target's display as a picture.
    Screen(crate::screen::Args),
    /// Make the site that bootd serves, and render all of it once as a check.
    Site(crate::server::site::Args),
    /// Log in to a VM, or run a command there.
    Ssh(crate::ssh::Args),
    /// Say where every VM and machine stands.
    Status(crate::status::Args),
    /// The lab segment's switch; started with the VMs.
    #[command(hide = true)]
    Switch(crate::switch::Args),
    /// Bring targets up and follow them, or shut them down.
    Target(crate::target::Args),
    /// Say what happened to a machine, and when.
    Timeline(crate::timeline::Args),
    /// Write the bring-up of the machines as a Chrome trace.
    Trace(crate::timeline::trace::Args),
    /// Say how to get into each machine.
    UpSummary(crate::status::SummaryArgs),
    /// Start, stop and look at virtual machines.
    Vm(crate::vm::Args),
    /// Say again and again where everything stands, until all is ready.
    Watch(crate::status::WatchArgs),
}

impl Cli {
    /// Runs the subcommand that was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Clean(args) => crate::down::clean(&args),
            Command::Config(args) => crate::config::run(&args),
            Command::Configure(args) => crate::host::run(&args),
            Command::Console(args) => crate::console::run(&args),
            Command::Content(args) => crate::server::content::run(&args),
            Command::Down(args) => crate::down::down(&args),
            Command::Keys(args) => crate::keys::run(&args),
            Command::Probe(args) => crate::probe::cli(&args),
            Command::Server(args) => crate::server::cli::run(&args),
            Command::Pcap(args) => crate::capture::run(&args),
            Command::Reprovision(args) => crate::target::reprovision(&args),
            Command::Screen(args) => crate::screen::run(&args),
            Command::Site(args) => crate::server::site::run(&args),
            Command::Ssh(args) => crate::ssh::run(&args),
            Command::Status(args) => crate::status::run(&args),
            Command::Switch(args) => crate::switch::run(&args),
            Command::Target(args) => crate::target::run(&args),
            Command::Timeline(args) => crate::timeline::run(&args),
            Command::Trace(args) => crate::timeline::trace::run(&args),
            Command::UpSummary(args) => crate::status::summary(&args),
            Command::Vm(args) => crate::vm::run(&args),
            Command::Watch(args) => crate::status::watch(&args),
        }
    }
}
