//! `lab status` and `lab up-summary`: every VM, and where each machine stands.
//!
//! Fast, since it is asked often: files, one look at each process, and one
//! request to bootd. No ssh.

mod look;
mod rate;
mod show;
mod verdict;
mod watch;

use crate::exit;
use crate::state::LabArgs;

pub use look::{Machine, Status, VmStatus, look};
pub use rate::Rate;
pub use watch::{WatchArgs, watch};

/// Options of `lab status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Print JSON.
    #[arg(long, conflicts_with = "table")]
    json: bool,
    /// Print only the table, without what to do about troubles.
    #[arg(long)]
    table: bool,
    /// End with the exit status of the first VM that is not ready: 3 if it is
    /// not up (yet), 10 and more by the kind of its failure.
    #[arg(long)]
    exit_code: bool,
}

/// Options of `lab up-summary`.
#[derive(Debug, clap::Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    lab: LabArgs,
}

/// Prints where everything stands.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    crate::capture::bound(&lab);
    let status = look(&lab)?;
    let text = if args.json {
        serde_json::to_string_pretty(&status)? + "\n"
    } else {
        let mut text = show::table(&status, now());
        if !args.table {
            text.push_str(&show::troubles(&status));
        }
        text
    };
    print(&text)?;
    if args.exit_code && status.exit != 0 {
        return Err(exit::Status(status.exit).into());
    }
    Ok(())
}

/// Prints how to get into each machine.
pub fn summary(args: &SummaryArgs) -> anyhow::Result<()> {
    print(&show::summary(&look(&args.lab.paths()?)?))
}

/// A reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Into::into),
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
