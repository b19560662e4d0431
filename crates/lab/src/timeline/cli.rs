//! `lab timeline`.

use super::{Timeline, file, from_bootd, from_server, show};
use crate::config::Resolved;
use crate::state::{LabArgs, LabPaths};
use crate::target::{Bootd, Provision};
use crate::vm::State;

/// Options of `lab timeline`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// `server`, or a target's name.
    vm: String,
    /// Print what is written down, and ask nobody.
    #[arg(long)]
    offline: bool,
    /// Print JSON, a line an entry.
    #[arg(long)]
    json: bool,
}

/// Prints what happened to a machine.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    if !args.offline && args.vm != "server" {
        complete(&lab, &args.vm);
    }
    let entries = file::read(&lab.vm(&args.vm));
    if entries.is_empty() {
        Resolved::new(lab.config()).machine(&args.vm)?;
        anyhow::bail!(
            "nothing is known of {}: `make up` brings it up and writes down what happens",
            args.vm
        );
    }
    let text = if args.json {
        entries
            .iter()
            .map(|entry| Ok(serde_json::to_string(entry)? + "\n"))
            .collect::<anyhow::Result<String>>()?
    } else {
        show::table(&entries)
    };
    crate::status::print(&text)
}

/// Adds what the server knows, if it can be asked.
fn complete(lab: &LabPaths, name: &str) {
    let vm = lab.vm(name);
    let server = State::of(&lab.vm("server")).ok().and_then(State::running);
    let target = Resolved::new(lab.config()).target(name);
    let (Some(record), Ok(target)) = (server, target) else {
        return;
    };
    let Some(forwards) = record.forwards else {
        return;
    };
    let mut timeline = Timeline::open(&vm);
    let since = Provision::read(&vm).map_or(0, |provision| provision.since);
    from_bootd(&mut timeline, &Bootd::new(&forwards), target.mac, since);
    let begin = file::read(&vm).first().map_or(0, |entry| entry.time);
    match from_server(lab, target.mac, begin) {
        Ok(entries) => timeline.add(entries),
        Err(error) => eprintln!("note: the server's logs are missing: {error:#}"),
    }
}
