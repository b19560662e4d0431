//! A process and whether it is still the one that was meant.
//!
//! A pid alone says little: it is given out again. Together with the time at
//! which the process started, and on Linux the boot in which it did, it names
//! one process for ever.

use std::io;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// One process, for as long as it lives and never another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// When it started, in the system's own terms.
    pub start_time: String,
    /// The boot in which it started.
    #[serde(default)]
    pub boot_id: String,
}

impl Identity {
    /// The process that has the number `pid` now; none if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            start_time: start_time(pid)?,
            boot_id: boot_id(),
        })
    }

    /// Whether it still runs. A zombie doesn't.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|now| now == self.start_time) && self.boot_id == boot_id()
    }

    /// Sends `signal`, if the process is still this one. True if it was.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        if !self.is_alive() {
            return Ok(false);
        }
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(false);
        };
        match rustix::process::kill_process(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(target_os = "linux")]
fn start_time(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold any
    // character; what follows the last bracket is plain. Field 3 is the state,
    // field 22 the time of start in clock ticks since boot.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: i32) -> Option<String> {
    let output = std::process::Command::new("/bin/ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, start) = text.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| start.trim().to_owned())
}

#[cfg(target_os = "linux")]
/// Names the host's boot; empty where the system has no name for it.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
/// Names the host's boot; empty where the system has no name for it.
pub(super) fn boot_id() -> String {
    // The time of start is a date there, which names the boot too.
    String::new()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = Identity::of(pid).unwrap();
        assert!(identity.is_alive());
        let other = Identity {
            start_time: "1".to_owned(),
            ..identity.clone()
        };
        assert!(!other.is_alive());
        assert!(
            !other.signal(Signal::KILL).unwrap(),
            "another process was hit"
        );
        assert!(identity.is_alive());
        let earlier = Identity {
            boot_id: "before".to_owned(),
            ..identity.clone()
        };
        assert_eq!(earlier.is_alive(), cfg!(not(target_os = "linux")));
        assert!(identity.signal(Signal::KILL).unwrap());
        // Dead but not waited for is dead.
        for _ in 0..200 {
            if !identity.is_alive() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert_eq!(Identity::of(pid), None);
    }
}
