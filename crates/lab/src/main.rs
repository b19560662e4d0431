//! Command line of `lab`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match lab::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => lab::exit::report(&error),
    }
}
