//! Stopping a VM: ask the guest, then QEMU, then the system.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::alive;
use super::process::Identity;
use super::qmp::{Qmp, QmpError};
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

/// How long a QEMU may take to answer that has no guest to ask. One that has is
/// given as long as the guest is: a busy host is no reason to switch it off.
const ANSWER: Duration = Duration::from_secs(2);

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
    match Qmp::connect(&vm.qmp(), grace.max(ANSWER)) {
        Ok(mut qmp) => {
            if !grace.is_zero() {
                match qmp.execute("system_powerdown", json!({})) {
                    Ok(_) if gone(process, grace) => return Ok(Stopped::ByGuest),
                    Ok(_) => {}
                    Err(error) => eprintln!("{}", unasked(vm, &error)),
                }
            }
            // QEMU may close the connection before it answers.
            let _ = qmp.execute("quit", json!({}));
            if gone(process, QUIT) {
                return Ok(Stopped::ByQemu);
            }
        }
        Err(error) if !grace.is_zero() => eprintln!("{}", unasked(vm, &error)),
        Err(_) => {}
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

/// Says that a guest is switched off that was to shut down by itself.
fn unasked(vm: &VmPaths, error: &QmpError) -> String {
    let name = vm.dir().file_name().unwrap_or_default().to_string_lossy();
    format!(
        "{name}: its guest could not be asked to shut down, so it is switched off, and what it had not written to its disk is lost: {error}"
    )
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command};

    use super::*;

    /// A process that stands in for QEMU.
    fn body() -> (Child, Identity) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        (child, identity)
    }

    #[test]
    fn a_guest_is_asked_though_its_qemu_takes_long_to_answer() {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmPaths::at(dir.path());
        let listener = UnixListener::bind(vm.qmp()).unwrap();
        let (mut child, process) = body();
        let qemu = process.clone();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::thread::sleep(ANSWER + Duration::from_millis(500));
            writeln!(stream, r#"{{"QMP": {{}}}}"#).unwrap();
            let mut asked = String::new();
            let mut requests = BufReader::new(stream.try_clone().unwrap());
            for _ in 0..2 {
                requests.read_line(&mut asked).unwrap();
                writeln!(stream, r#"{{"return": {{}}}}"#).unwrap();
            }
            qemu.signal(Signal::KILL).unwrap();
            asked
        });
        let how = end(&vm, &process, Duration::from_secs(30)).unwrap();
        assert_eq!(how, Stopped::ByGuest);
        assert!(served.join().unwrap().contains("system_powerdown"));
        child.wait().unwrap();
    }

    #[test]
    fn a_guest_that_could_not_be_asked_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmPaths::at(&dir.path().join("target1"));
        let (mut child, process) = body();
        let how = end(&vm, &process, Duration::from_secs(1)).unwrap();
        assert_eq!(how, Stopped::BySignal);
        child.wait().unwrap();
        let error = Qmp::connect(&vm.qmp(), Duration::from_secs(1)).unwrap_err();
        let said = unasked(&vm, &error);
        assert!(
            said.starts_with("target1: its guest could not be asked to shut down"),
            "{said}"
        );
        assert!(said.contains("cannot reach QEMU"), "{said}");
    }
}
