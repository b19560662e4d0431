//! Command line of `lab-image`, each subcommand a line that leads to its module.

use clap::{Parser, Subcommand};

/// Build and fetch images and volumes.
#[derive(Debug, Parser)]
#[command(name = "lab-image", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from Debian packages.
    Debian(images::debian::Args),
    /// Append the installer to a stock initrd.
    Initrd(images::initrd::Args),
    /// Download Ubuntu's images as they are pinned.
    Ubuntu(images::ubuntu::build::Args),
    /// Download one of Ubuntu's pinned files.
    UbuntuFetch(images::ubuntu::get::Args),
    /// Turn Ubuntu's image into what the installer streams.
    UbuntuTarget(images::ubuntu::target::Args),
    /// Write files of the host into a new FAT volume.
    Volume(images::volume::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().command {
        Command::Debian(args) => images::debian::run(&args),
        Command::Initrd(args) => images::initrd::run(&args),
        Command::Ubuntu(args) => images::ubuntu::build::run(&args),
        Command::UbuntuFetch(args) => images::ubuntu::get::run(&args),
        Command::UbuntuTarget(args) => images::ubuntu::target::run(&args),
        Command::Volume(args) => images::volume::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
