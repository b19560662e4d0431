//! `lab server`.

/// Options of `lab server`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Wait until the server is configured and its services answer.
    Ready(super::ready::Args),
    /// Bring site and content of the running server up to date.
    Push(super::push::Args),
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Ready(args) => super::ready::run(args),
        Command::Push(args) => super::push::run(args),
    }
}
