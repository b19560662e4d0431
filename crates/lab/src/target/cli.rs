//! `lab target` and `lab reprovision`.

use std::io;
use std::time::Duration;

use super::bootd::Bootd;
use super::kind::WatchError;
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
                let say = Say::plainly(io::stderr(), &target.name);
                scope.spawn(move || up(lab, &target.name, &options, say))
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
    together(
        targets
            .iter()
            .map(|target| target.name.as_str())
            .zip(results),
    )
}

/// All failures in one; its kind, and so the exit status, is that of the first
/// target whose failure has one.
fn together<'a>(
    results: impl Iterator<Item = (&'a str, anyhow::Result<()>)>,
) -> anyhow::Result<()> {
    let mut failed: Vec<(&str, anyhow::Error)> = results
        .filter_map(|(name, result)| Some((name, result.err()?)))
        .collect();
    if let [_] = &*failed {
        return Err(failed.remove(0).1);
    }
    let told: Vec<String> = failed
        .iter()
        .map(|(name, error)| match error.downcast_ref::<WatchError>() {
            // it names its machine
            Some(error) => error.to_string(),
            None => format!("{name}: {error:#}"),
        })
        .collect();
    let first = failed
        .iter()
        .find_map(|(_, error)| error.downcast_ref::<WatchError>());
    match first {
        Some(first) => Err(first.among(told.join("\n")).into()),
        None if told.is_empty() => Ok(()),
        None => Err(anyhow::anyhow!("{}", told.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::WatchKind;

    fn failure(kind: WatchKind, text: &str) -> anyhow::Result<()> {
        Err(WatchError {
            kind,
            at: "plan",
            diagnosis: None,
            text: text.to_owned(),
        }
        .into())
    }

    #[test]
    fn of_several_failures_the_first_with_a_kind_is_the_exit_status() {
        let of = |results: Vec<(&str, anyhow::Result<()>)>| {
            let error = together(results.into_iter()).unwrap_err();
            (crate::exit::status(&error), error.to_string())
        };
        assert!(together([("a", Ok(())), ("b", Ok(()))].into_iter()).is_ok());
        let template = || failure(WatchKind::Template, "the server can't answer b");
        let gone = || failure(WatchKind::Gone, "the QEMU of c is gone");
        let other = || Err(anyhow::anyhow!("no disk").context("can't start"));
        assert_eq!(
            of(vec![("a", Ok(())), ("b", template())]),
            (14, "the server can't answer b".to_owned())
        );
        assert_eq!(
            of(vec![("a", other()), ("b", template()), ("c", gone())]),
            (
                14,
                "a: can't start: no disk\nthe server can't answer b\nthe QEMU of c is gone"
                    .to_owned()
            )
        );
        assert_eq!(of(vec![("c", gone()), ("b", template())]).0, 12);
        assert_eq!(of(vec![("a", other()), ("b", other())]).0, 1);
    }
}
