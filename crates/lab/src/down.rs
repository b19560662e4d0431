//! `lab down` and `lab clean`. Neither reads lab.toml, so that both work when
//! it is broken.

use std::time::Duration;

use anyhow::Context as _;
use protocol::MachineState;

use crate::ssh;
use crate::state::{LabArgs, LabPaths};
use crate::target::Bootd;
use crate::vm::{self, State, Stopped};

/// Options of `lab down`.
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    #[command(flatten)]
    lab: LabArgs,
    /// Seconds that a guest has to shut down; 0 switches all off.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
}

/// Options of `lab clean`.
#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    #[command(flatten)]
    lab: LabArgs,
}

/// Stops every VM of the lab; their disks stay.
pub fn down(args: &DownArgs) -> anyhow::Result<()> {
    stop_all(&args.lab.paths()?, Duration::from_secs(args.grace))
}

/// Switches every VM off and deletes all that is the lab's.
pub fn clean(args: &CleanArgs) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    // The disks are thrown away, so there is nothing to shut down properly.
    stop_all(&lab, Duration::ZERO)?;
    match fs_err::remove_dir_all(lab.root()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("the VMs are stopped, but not all files could be deleted")
        }
        _ => Ok(()),
    }
}

/// Targets first, all at once: the server is their way to everything.
fn stop_all(lab: &LabPaths, grace: Duration) -> anyhow::Result<()> {
    let names = lab.vm_names()?;
    let installed = installed(lab);
    let (server, targets): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == "server");
    let mut failed = Vec::new();
    for group in [targets, server] {
        std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .map(|name| {
                    // A machine in the middle of its installation has nothing
                    // that listens for a wish to shut down.
                    let listens = *name == "server"
                        || installed.as_ref().is_none_or(|known| known.contains(name));
                    let grace = if listens { grace } else { Duration::ZERO };
                    (name, scope.spawn(move || stop_one(lab, name, grace)))
                })
                .collect();
            for (name, thread) in threads {
                match thread.join() {
                    Ok(Ok(Stopped::Already)) => {}
                    Ok(Ok(how)) => println!("{name}: {}", how.as_str()),
                    Ok(Err(error)) => failed.push(format!("{name}: {error:#}")),
                    Err(_) => failed.push(format!("{name}: a thread panicked")),
                }
            }
        });
    }
    anyhow::ensure!(
        failed.is_empty(),
        "not everything could be stopped\n{}",
        failed.join("\n")
    );
    Ok(())
}

fn stop_one(lab: &LabPaths, name: &str, grace: Duration) -> anyhow::Result<Stopped> {
    ssh::close(lab, name);
    vm::stop(&lab.vm(name), grace)
}

/// How long `name` is given to shut down: not at all while it is being
/// installed.
pub(crate) fn grace_for(lab: &LabPaths, name: &str, grace: Duration) -> Duration {
    if name == "server" || grace.is_zero() {
        return grace;
    }
    let known = installed(lab);
    if known.is_none_or(|known| known.iter().any(|other| other == name)) {
        grace
    } else {
        Duration::ZERO
    }
}

/// The machines that have a system on their disk; none if nobody knows.
fn installed(lab: &LabPaths) -> Option<Vec<String>> {
    let record = State::of(&lab.vm("server")).ok()?.running()?;
    let machines = Bootd::new(&record.forwards?)
        .machines(Duration::from_secs(1))
        .ok()?;
    let on_disk = |state| matches!(state, MachineState::Installed | MachineState::Ready);
    Some(
        machines
            .into_iter()
            .filter(|m| on_disk(m.state))
            .map(|m| m.name)
            .collect(),
    )
}
