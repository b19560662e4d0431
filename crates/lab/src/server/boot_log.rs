//! How far the server's boot is, from its serial console.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::place::{self, Place};
use crate::state::VmPaths;
use crate::target::{Times, milliseconds};
use crate::timeline::{Entry, Timeline};
use crate::vm::State;

/// What a line of the console means, in the order of a boot.
const STAGES: &[(&str, &str, Place)] = &[
    (
        "BdsDxe: starting",
        "firmware starts the boot loader",
        place::FIRMWARE,
    ),
    ("GNU GRUB", "GRUB", place::BOOT_LOADER),
    ("Linux version", "kernel", place::KERNEL),
    ("cloud-init-local.service", "cloud-init", place::CLOUD_INIT),
    (
        "Reading package lists",
        "installing packages",
        place::PACKAGES,
    ),
    (
        "Setting up isc-dhcp-server",
        "setting up the DHCP server",
        place::PACKAGES,
    ),
    (
        "Setting up tftpd-hpa",
        "setting up the TFTP server",
        place::PACKAGES,
    ),
    (
        "Setting up nginx ",
        "setting up the web server",
        place::PACKAGES,
    ),
    ("Valid schema", "checking the configuration", place::SET_UP),
];

/// Lines that say that the server won't come up.
const FAILURES: &[&str] = &[
    "No bootable option or device was found",
    "UEFI Interactive Shell",
    "Kernel panic",
    "Failed to run module scripts",
    "Failure when attempting to install packages",
];

/// The same, by a prompt.
const PROMPTS: &[&str] = &["grub rescue>", "(initramfs)"];

/// Where the boot is that has left the log at `path`.
pub(super) fn place_in(path: &Path) -> Place {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut reached = 0;
    for line in text.lines() {
        reached = reached_by(line, reached).unwrap_or(reached);
    }
    last(reached).map_or(place::POWER_ON, |(_, _, place)| *place)
}

/// How many stages are behind after this line, if it is one of those to come.
fn reached_by(line: &str, reached: usize) -> Option<usize> {
    let ahead = STAGES[reached..]
        .iter()
        .position(|(sign, ..)| line.contains(sign))?;
    Some(reached + ahead + 1)
}

fn last(reached: usize) -> Option<&'static (&'static str, &'static str, Place)> {
    STAGES.get(reached.checked_sub(1)?)
}

/// Reads a console's log as it grows.
#[derive(Debug)]
pub(super) struct BootLog {
    path: PathBuf,
    read: u64,
    partial: String,
    reached: usize,
    failure: Option<String>,
    /// When the console last said anything.
    heard: Instant,
    history: History,
}

/// Where what the log shows is written down, too.
#[derive(Debug)]
struct History {
    timeline: Timeline,
    times: Times,
    started: u64,
}

impl History {
    /// Of the VM whose log it is.
    fn of(log: &Path) -> Self {
        let vm = &VmPaths::at(log.parent().unwrap_or(log));
        let record = State::of(vm).ok().and_then(State::running);
        let mut timeline = Timeline::open(vm);
        let started = record.as_ref().map_or(0, |record| record.started);
        if record.is_some_and(|record| !record.resumed) {
            timeline.add([Entry::host(started, Some("power-on"), "powered on")]);
        }
        Self {
            timeline,
            times: Times::open(&vm.serial_log()),
            started,
        }
    }

    fn add(&mut self, log: &std::fs::File, stage: &str) {
        let written = log.metadata().and_then(|metadata| metadata.modified());
        let time = milliseconds(written.unwrap_or_else(|_| SystemTime::now()));
        // each is told once a boot, so its place in the list is what it is known by
        let place = STAGES.iter().position(|(_, name, _)| *name == stage);
        let place = place.unwrap_or_default() as u64;
        let entry = Entry::serial(time, Some(stage), stage, self.started, place);
        self.timeline.add([entry]);
    }
}

impl BootLog {
    /// The log at `path`, from what is there now: an older boot's lines are
    /// not this one's, but a console that was just opened starts at its head.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            history: History::of(&path),
            path,
            read: 0,
            partial: String::new(),
            reached: 0,
            failure: None,
            heard: Instant::now(),
        }
    }

    /// Stages reached since the last call.
    pub(super) fn news(&mut self) -> Vec<&'static str> {
        let mut text = Vec::new();
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return vec![];
        };
        let length = file.metadata().map_or(0, |m| m.len());
        if length < self.read {
            self.read = 0;
        }
        if file.seek(SeekFrom::Start(self.read)).is_err() || file.read_to_end(&mut text).is_err() {
            return vec![];
        }
        self.read += text.len() as u64;
        if !text.is_empty() {
            self.heard = Instant::now();
            self.history.times.note(&file, self.read);
        }
        self.partial.push_str(&String::from_utf8_lossy(&text));
        // a prompt never ends its line
        if self.failure.is_none() {
            self.failure = PROMPTS
                .iter()
                .find(|sign| self.partial.contains(**sign))
                .map(|sign| (*sign).to_owned());
        }
        let complete = self.partial.rfind('\n').map_or(0, |at| at + 1);
        let lines: String = self.partial.drain(..complete).collect();
        let stages: Vec<_> = lines.lines().filter_map(|line| self.line(line)).collect();
        for stage in &stages {
            self.history.add(&file, stage);
        }
        stages
    }

    fn line(&mut self, line: &str) -> Option<&'static str> {
        if self.failure.is_none() && FAILURES.iter().any(|sign| line.contains(sign)) {
            self.failure = Some(line.trim().to_owned());
        }
        self.reached = reached_by(line, self.reached)?;
        last(self.reached).map(|(_, stage, _)| *stage)
    }

    /// The line that says why set-up failed, if one did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The last stage that was reached.
    pub(super) fn last(&self) -> Option<&'static str> {
        last(self.reached).map(|(_, stage, _)| *stage)
    }

    /// Where that is.
    pub(super) fn place(&self) -> Place {
        last(self.reached).map_or(place::POWER_ON, |(_, _, place)| *place)
    }

    /// For how long the console has said nothing.
    pub(super) fn silent(&self) -> Duration {
        self.heard.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn stages_are_told_once_and_in_order_as_the_log_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        let mut log = BootLog::new(path.clone());
        assert!(log.news().is_empty());
        let mut file = std::fs::File::create(&path).unwrap();
        write!(file, "BdsDxe: starting Boot0001\r\nLinux ver").unwrap();
        assert_eq!(log.news(), ["firmware starts the boot loader"]);
        writeln!(file, "sion 6.12\r\nBdsDxe: starting again").unwrap();
        assert_eq!(log.news(), ["kernel"]);
        assert_eq!(log.last(), Some("kernel"));
        assert_eq!(log.failure(), None);
        assert_eq!(log.place(), place::KERNEL);
        // for one who only looks in, the same
        assert_eq!(place_in(&path), place::KERNEL);
        assert_eq!(place_in(&dir.path().join("none")), place::POWER_ON);
    }

    #[test]
    fn a_failed_set_up_is_noticed_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        std::fs::write(&path, "x\nWARNING: Failed to run module scripts_user (x)\n").unwrap();
        let mut log = BootLog::new(path);
        log.news();
        assert!(log.failure().unwrap().contains("scripts_user"));
    }

    #[test]
    fn a_prompt_that_nobody_will_answer_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        std::fs::write(&path, "error: no such device: x\ngrub rescue> ").unwrap();
        let mut log = BootLog::new(path);
        log.news();
        assert_eq!(log.failure(), Some("grub rescue>"));
    }
}
