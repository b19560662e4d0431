//! `lab down` and `lab clean`. Neither reads lab.toml, so that both work when
//! it is broken.

use std::time::Duration;

use anyhow::Context as _;
use protocol::{MachineState, MachineStatus};

use crate::ssh;
use crate::state::{LabArgs, LabPaths};
use crate::switch;
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
    /// Shut all down instead of suspending what is up: the next start boots.
    #[arg(long)]
    halt: bool,
}

/// Options of `lab clean`.
#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    #[command(flatten)]
    lab: LabArgs,
}

/// Stops every VM of the lab; their disks stay, and the memory of those that
/// were up, so that they go on from there.
pub fn down(args: &DownArgs) -> anyhow::Result<()> {
    let grace = Duration::from_secs(args.grace);
    stop_all(&args.lab.paths()?, grace, !args.halt)
}

/// Switches every VM off and deletes all that is the lab's.
pub fn clean(args: &CleanArgs) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    // The disks are thrown away, so there is nothing to shut down properly.
    stop_all(&lab, Duration::ZERO, false)?;
    match fs_err::remove_dir_all(lab.root()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("the VMs are stopped, but not all files could be deleted")
        }
        _ => Ok(()),
    }
}

/// Targets first, all at once: the server is their way to everything.
fn stop_all(lab: &LabPaths, grace: Duration, suspend: bool) -> anyhow::Result<()> {
    let names = lab.vm_names()?;
    let machines = machines(lab);
    let (server, targets): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == "server");
    let mut failed = Vec::new();
    for group in [targets, server] {
        std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .map(|name| {
                    let state = state_of(machines.as_deref(), name);
                    let end = match state {
                        Some(MachineState::Ready) if suspend => End::Suspend(grace),
                        _ if *name == "server" && suspend && vm::is_set_up(&lab.vm(name)) => {
                            End::Suspend(grace)
                        }
                        _ => End::Stop(grace_in(state, grace)),
                    };
                    (name, scope.spawn(move || end_one(lab, name, end)))
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
    if let Err(error) = switch::end(&lab.vm("server")) {
        failed.push(format!("{error:#}"));
    }
    anyhow::ensure!(
        failed.is_empty(),
        "not everything could be stopped\n{}",
        failed.join("\n")
    );
    Ok(())
}

/// How a VM is ended. One whose guest is in the middle of its first set-up is
/// not suspended: what it waits for may be another when it goes on.
#[derive(Clone, Copy)]
enum End {
    Suspend(Duration),
    Stop(Duration),
}

fn end_one(lab: &LabPaths, name: &str, end: End) -> anyhow::Result<Stopped> {
    ssh::close(lab, name);
    match end {
        End::Suspend(grace) => vm::suspend(&lab.vm(name), name, grace),
        End::Stop(grace) => vm::stop(&lab.vm(name), grace),
    }
}

/// How long a machine in this state is given to shut down. In the middle of
/// its installation nothing listens for the wish; where nobody knows the
/// state, as for the server itself, it is asked.
fn grace_in(state: Option<MachineState>, grace: Duration) -> Duration {
    match state {
        None | Some(MachineState::Installed | MachineState::Ready) => grace,
        Some(_) => Duration::ZERO,
    }
}

/// How long `name` is given to shut down: not at all while it is being
/// installed.
pub(crate) fn grace_for(lab: &LabPaths, name: &str, grace: Duration) -> Duration {
    if name == "server" || grace.is_zero() {
        return grace;
    }
    grace_in(state_of(machines(lab).as_deref(), name), grace)
}

fn state_of(machines: Option<&[MachineStatus]>, name: &str) -> Option<MachineState> {
    let machine = machines?.iter().find(|machine| machine.name == name)?;
    Some(machine.state)
}

/// What the server knows of the machines; none if it doesn't answer.
fn machines(lab: &LabPaths) -> Option<Vec<MachineStatus>> {
    let record = State::of(&lab.vm("server")).ok()?.running()?;
    Bootd::new(&record.forwards?)
        .machines(Duration::from_secs(1))
        .ok()
}
