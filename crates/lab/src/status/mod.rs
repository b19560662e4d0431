//! `lab status` and `lab up-summary`: every VM, and where each machine stands.
//!
//! Fast, since it is asked often: files, one look at each process, and one
//! request to bootd. No ssh.

mod look;
mod show;

use crate::state::LabArgs;

pub use look::{Machine, Status, VmStatus, look};

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
}

/// Options of `lab up-summary`.
#[derive(Debug, clap::Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    lab: LabArgs,
}

/// Prints where everything stands.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let status = look(&args.lab.paths()?)?;
    let text = if args.json {
        serde_json::to_string_pretty(&status)? + "\n"
    } else {
        let mut text = show::table(&status, now());
        if !args.table {
            text.push_str(&show::troubles(&status));
        }
        text
    };
    print(&text)
}

/// Prints how to get into each machine.
pub fn summary(args: &SummaryArgs) -> anyhow::Result<()> {
    print(&show::summary(&look(&args.lab.paths()?)?))
}

/// A reader that has seen enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
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
