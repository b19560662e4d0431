//! `lab vm`.

use std::path::PathBuf;
use std::time::Duration;

use super::record::State;
use super::start::Started;
use super::{Options, ready, start_server, stop};
use crate::exit::Status;
use crate::state::{LabArgs, LabPaths};

/// Options of `lab vm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start a VM, unless it runs already from the same things.
    Start(StartArgs),
    /// Stop a VM: ask the guest, then QEMU, then the system.
    Stop(StopArgs),
    /// Say whether a VM runs: exit 0 if it does, 3 if not, 4 if it died.
    Status(NameArgs),
    /// Say whether the server answers: exit 0 if it does, else 3.
    Ready(NameArgs),
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    #[command(flatten)]
    lab: LabArgs,
    /// `server`, or a target's name.
    vm: String,
}

#[derive(Debug, clap::Args)]
struct StartArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    options: HostArgs,
}

/// What is outside the lab's folder.
#[derive(Debug, Clone, clap::Args)]
pub struct HostArgs {
    /// What this host was found to be.
    #[arg(long, value_name = "FILE", default_value = "build/host.toml")]
    host: PathBuf,
    /// The image below the server's disk.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "build/images/server/disk.qcow2"
    )]
    image: PathBuf,
}

impl HostArgs {
    /// As a start wants them.
    pub fn options(&self) -> Options {
        Options {
            host: self.host.clone(),
            image: self.image.clone(),
            grace: Duration::from_secs(30),
            fresh: fresh(),
        }
    }
}

/// `FRESH=1`: boot, whatever was saved.
fn fresh() -> bool {
    std::env::var_os("FRESH").is_some_and(|value| !value.is_empty() && value != "0")
}

#[derive(Debug, clap::Args)]
struct StopArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Seconds that the guest has to shut down; 0 switches it off.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Start(args) => {
            let lab = args.name.lab.paths()?;
            start(&lab, &args.name.vm, &args.options.options())
        }
        Command::Stop(args) => {
            let lab = args.name.lab.paths()?;
            let vm = &args.name.vm;
            let grace = crate::down::grace_for(&lab, vm, Duration::from_secs(args.grace));
            let how = stop(&lab.vm(vm), grace)?;
            println!("{vm}: {}", how.as_str());
            Ok(())
        }
        Command::Status(args) => status(&args.lab.paths()?, &args.vm),
        Command::Ready(args) => is_ready(&args.lab.paths()?, &args.vm),
    }
}

fn start(lab: &LabPaths, vm: &str, options: &Options) -> anyhow::Result<()> {
    let started = if vm == "server" {
        start_server(lab, options)?
    } else {
        crate::target::start(lab, vm, options, std::io::stderr())?
    };
    let record = started.record();
    let how = match &started {
        Started::Already(_) => "runs already".to_owned(),
        Started::Resumed(_) => "resumed".to_owned(),
        Started::Fresh { new_disk: None, .. } => "started".to_owned(),
        Started::Fresh {
            new_disk: Some(why),
            ..
        } => format!("started with a new disk ({why})"),
    };
    let reached = record
        .forwards
        .as_ref()
        .map(|f| format!(", ssh {}:{}, {}", f.address, f.ssh, f.url()))
        .unwrap_or_default();
    println!("{vm}: {how}, pid {}{reached}", record.process.pid);
    Ok(())
}

fn status(lab: &LabPaths, vm: &str) -> anyhow::Result<()> {
    match State::of(&lab.vm(vm))? {
        State::Running(record) => {
            println!("{vm}: running, pid {}", record.process.pid);
            Ok(())
        }
        State::Held(record) => {
            println!(
                "{vm}: stands still, being suspended or resumed, pid {}",
                record.process.pid
            );
            Err(Status(3).into())
        }
        State::Died(record) => {
            println!("{vm}: died (its process {} is gone)", record.process.pid);
            Err(Status(4).into())
        }
        State::Stopped => {
            println!("{vm}: stopped");
            Err(Status(3).into())
        }
    }
}

fn is_ready(lab: &LabPaths, vm: &str) -> anyhow::Result<()> {
    let answer = match State::of(&lab.vm(vm))? {
        State::Running(record) if vm == "server" => ready(&record),
        State::Running(_) => Ok(()),
        State::Held(_) => Err("it is being suspended or resumed".to_owned()),
        State::Died(_) => Err("it died".to_owned()),
        State::Stopped => Err("it does not run".to_owned()),
    };
    if let Err(why) = answer {
        println!("{vm}: not ready: {why}");
        return Err(Status(3).into());
    }
    println!("{vm}: ready");
    Ok(())
}
