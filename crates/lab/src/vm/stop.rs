//! Stopping a VM: ask the guest, then QEMU, then the system.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::alive;
use super::process::Identity;
use super::qmp::Qmp;
use super::record::{Record, State, forget};
use super::resume;
use super::snapshot::{self, Saved};
use crate::net::bridge;
use crate::state::{VmLock, VmPaths};

/// How a VM came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It wasn't running.
    Already,
    /// Its process had been gone before; what it left was cleared.
    Cleared,
    /// The guest shut down.
    ByGuest,
    /// QEMU was told to quit.
    ByQemu,
    /// It took a signal.
    BySignal,
    /// Its memory is on disk, and it can go on from there.
    Suspended,
}

impl Stopped {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Already => "was not running",
            Self::Cleared => "had died; what it left was cleared",
            Self::ByGuest => "shut down",
            Self::ByQemu => "switched off",
            Self::BySignal => "had to be ended by a signal",
            Self::Suspended => "suspended",
        }
    }
}

/// How long each further step may take.
const QUIT: Duration = Duration::from_secs(5);
const TERM: Duration = Duration::from_secs(3);
const KILL: Duration = Duration::from_secs(10);

/// Stops a VM. The guest has `grace` to shut down; zero doesn't ask it.
pub fn stop(vm: &VmPaths, grace: Duration) -> anyhow::Result<Stopped> {
    if !vm.dir().exists() {
        return Ok(Stopped::Already);
    }
    let _lock = VmLock::take(vm)?;
    stop_locked(vm, grace)
}

/// Stops a VM so that its next start goes on from where it is. One whose
/// memory can't be saved is stopped, which it is said why.
pub fn suspend(vm: &VmPaths, name: &str, grace: Duration) -> anyhow::Result<Stopped> {
    if !vm.dir().exists() {
        return Ok(Stopped::Already);
    }
    let _lock = VmLock::take(vm)?;
    if let State::Held(record) = State::of(vm)?
        && resume::pick_up(vm, name, record)?.is_none()
    {
        return Ok(if Saved::read(vm).is_some() {
            Stopped::Suspended
        } else {
            Stopped::ByQemu
        });
    }
    if let State::Running(record) = State::of(vm)? {
        match save_and_quit(vm, &record) {
            Ok(()) => {
                bridge::unplug(&record.argv)?;
                forget(vm)?;
                return Ok(Stopped::Suspended);
            }
            Err(error) => eprintln!("{name}: can't be suspended, so it is shut down: {error:#}"),
        }
    }
    stop_locked(vm, grace)
}

fn save_and_quit(vm: &VmPaths, record: &Record) -> anyhow::Result<()> {
    let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(10))?;
    snapshot::save(vm, record, &mut qmp)?;
    // QEMU may close the connection before it answers.
    let _ = qmp.execute("quit", json!({}));
    drop(qmp);
    if !gone(&record.process, QUIT) {
        end(vm, &record.process, Duration::ZERO)?;
    }
    Ok(())
}

pub(super) fn stop_locked(vm: &VmPaths, grace: Duration) -> anyhow::Result<Stopped> {
    let stopped = match State::of(vm)? {
        State::Stopped if alive::end_orphan(vm)? => Stopped::ByQemu,
        State::Stopped => return Ok(Stopped::Already),
        State::Died(record) => {
            bridge::unplug(&record.argv)?;
            Stopped::Cleared
        }
        State::Held(record) => {
            // a guest that stands still hears nothing, and what is saved is whole
            let how = end(vm, &record.process, Duration::ZERO)?;
            bridge::unplug(&record.argv)?;
            how
        }
        State::Running(record) => {
            let how = end(vm, &record.process, grace)?;
            bridge::unplug(&record.argv)?;
            how
        }
    };
    forget(vm)?;
    Ok(stopped)
}

pub(super) fn end(vm: &VmPaths, process: &Identity, grace: Duration) -> anyhow::Result<Stopped> {
    if let Ok(mut qmp) = Qmp::connect(&vm.qmp(), Duration::from_secs(2)) {
        if !grace.is_zero()
            && qmp.execute("system_powerdown", json!({})).is_ok()
            && gone(process, grace)
        {
            return Ok(Stopped::ByGuest);
        }
        // QEMU may close the connection before it answers.
        let _ = qmp.execute("quit", json!({}));
        if gone(process, QUIT) {
            return Ok(Stopped::ByQemu);
        }
    }
    process.signal(Signal::TERM)?;
    if gone(process, TERM) {
        return Ok(Stopped::BySignal);
    }
    process.signal(Signal::KILL)?;
    anyhow::ensure!(
        gone(process, KILL),
        "the process {} does not end, not even by SIGKILL: it waits in the kernel (a disk or network file system that hangs?)",
        process.pid
    );
    Ok(Stopped::BySignal)
}

/// Waits until the process is gone, at most for `limit`.
fn gone(process: &Identity, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    while process.is_alive() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    true
}
