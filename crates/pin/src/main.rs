//! Command line of `lab-pin`.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    match pin::run(&pin::Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
