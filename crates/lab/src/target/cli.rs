//! `lab target` and `lab reprovision`.

use std::io;
use std::time::Duration;

use super::bootd::Bootd;
use super::say::Say;
use super::up::{start_over, up};
use crate::config::Resolved;
use crate::state::LabArgs;
use crate::vm::{self, HostArgs, State};

/// Options of `lab target`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start a target and follow it until it is ready.
    Up(UpArgs),
    /// Shut a target down; its disk stays.
    Down(DownArgs),
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    options: HostArgs,
    /// The target's name.
    name: String,
}

#[derive(Debug, clap::Args)]
struct DownArgs {
    #[command(flatten)]
    lab: LabArgs,
    /// The target's name.
    name: String,
    /// Seconds that the guest has to shut down; 0 switches it off.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
}

/// Options of `lab reprovision`.
#[derive(Debug, clap::Args)]
pub struct ReprovisionArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    options: HostArgs,
    /// The targets' names, separated by commas.
    #[arg(required = true, value_delimiter = ',')]
    names: Vec<String>,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Up(args) => up(
            &args.lab.paths()?,
            &args.name,
            &args.options.options(),
            Say::new(io::stderr(), &args.name),
        ),
        Command::Down(args) => {
            let lab = args.lab.paths()?;
            let grace = crate::down::grace_for(&lab, &args.name, Duration::from_secs(args.grace));
            let how = vm::stop(&lab.vm(&args.name), grace)?;
            println!("{}: {}", args.name, how.as_str());
            Ok(())
        }
    }
}

/// Installs targets anew, all at once, and follows them.
pub fn reprovision(args: &ReprovisionArgs) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let config = Resolved::new(lab.config());
    // All names first: a misspelt one must not leave half of them wiped.
    let targets = args
        .names
        .iter()
        .map(|name| config.target(name))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(record) = State::of(&lab.vm("server"))?.running() else {
        anyhow::bail!("the server does not run; `make up` starts it");
    };
    let forwards = record.forwards.ok_or_else(|| {
        anyhow::anyhow!("the server's start was interrupted; `make up` starts it")
    })?;
    let bootd = Bootd::new(&forwards);
    for target in &targets {
        start_over(&lab, &bootd, target.mac, &target.name)?;
    }
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = targets
            .iter()
            .map(|target| {
                let (lab, options) = (&lab, args.options.options());
                scope.spawn(move || {
                    up(
                        lab,
                        &target.name,
                        &options,
                        Say::plainly(io::stderr(), &target.name),
                    )
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
            })
            .collect()
    });
    let mut failed = Vec::new();
    if let ([_], [Err(_)]) = (&*targets, &*results) {
        // its kind is the exit status
        return results.into_iter().collect();
    }
    for (target, result) in targets.iter().zip(results) {
        if let Err(error) = result {
            failed.push(format!("{}: {error:#}", target.name));
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
