//! From a command line to a QEMU that answers.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::alive;
use super::process::Identity;
use super::qmp::{Qmp, QmpError};
use super::record::Record;
use super::{args, detach};
use crate::fsutil;
use crate::state::VmPaths;

/// How long QEMU may take from its start to its greeting.
const GREETING: Duration = Duration::from_secs(30);

/// QEMU didn't come up.
#[derive(Debug, thiserror::Error)]
#[error("QEMU for {vm} {how}{shown}")]
pub struct LaunchError {
    vm: String,
    how: String,
    said: String,
    shown: String,
}

/// A VM that is about to be started.
pub(super) struct Body<'a> {
    pub(super) vm: &'a VmPaths,
    pub(super) name: &'a str,
    pub(super) argv: Vec<String>,
    /// Its disk's installation.
    pub(super) instance: String,
    /// Digest of all that would call for a restart if it changed.
    pub(super) wanted: String,
}

impl Body<'_> {
    /// The record of the VM, once it is launched.
    pub(super) fn record(&self, launched: &Launched) -> Record {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |now| now.as_millis());
        let (major, minor, micro) = launched.qmp.version();
        Record {
            vm: self.name.to_owned(),
            process: launched.process.clone(),
            qemu: format!("{major}.{minor}.{micro}"),
            started: u64::try_from(now).unwrap_or(0),
            instance: self.instance.clone(),
            wanted: self.wanted.clone(),
            forwards: None,
            content: None,
            resumed: false,
            argv: launched.argv.clone(),
        }
    }
}

/// A QEMU that has greeted.
pub(super) struct Launched {
    pub(super) process: Identity,
    pub(super) qmp: Qmp,
    pub(super) argv: Vec<String>,
}

/// Starts `argv` in the VM's folder. A QEMU that was built without its sandbox
/// is started without.
pub(super) fn launch(vm: &VmPaths, name: &str, argv: Vec<String>) -> anyhow::Result<Launched> {
    match attempt(vm, name, &argv) {
        Err(error)
            if error
                .downcast_ref::<LaunchError>()
                .is_some_and(|error| error.said.contains("sandbox support is not enabled")) =>
        {
            eprintln!("note: this QEMU has no sandbox; {name} runs without");
            let argv = args::without_sandbox(&argv);
            let (process, qmp) = attempt(vm, name, &argv)?;
            Ok(Launched { process, qmp, argv })
        }
        other => other.map(|(process, qmp)| Launched { process, qmp, argv }),
    }
}

fn attempt(vm: &VmPaths, name: &str, argv: &[String]) -> anyhow::Result<(Identity, Qmp)> {
    let (program, arguments) = argv.split_first().context("an empty command line")?;
    let log = fs_err::File::create(vm.qemu_log())?;
    pipes(vm)?;
    detach::keep_descriptors().context("cannot list this process's descriptors")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(vm.dir())
        .stdin(alive::lock(vm)?)
        .stdout(log.file().try_clone()?)
        .stderr(log.into_parts().0);
    detach::own_session(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {program}; `make configure` looks for QEMU anew"))?;
    let process = i32::try_from(child.id()).ok().and_then(Identity::of);
    let deadline = Instant::now() + GREETING;
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(exited(vm, name, status).into());
        }
        match Qmp::connect(
            &vm.qmp(),
            deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)),
        ) {
            Ok(qmp) => {
                let process = process.context("QEMU's process can't be seen")?;
                return Ok((process, qmp));
            }
            // It may be about to exit: the next round tells.
            Err(QmpError::Connect(_) | QmpError::Io { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                let how = format!("did not answer within {} s: {error}", GREETING.as_secs());
                return Err(failed(vm, name, how).into());
            }
        }
    }
}

/// Makes the named pipes that QEMU doesn't make itself.
fn pipes(vm: &VmPaths) -> anyhow::Result<()> {
    let wanted = [vm.wake_in(), vm.wake_out()];
    if wanted.iter().all(|path| path.exists()) {
        return Ok(());
    }
    for path in &wanted {
        fsutil::remove_if_there(path)?;
    }
    // a program of POSIX: no kept crate makes one on macOS too without `unsafe`
    let made = Command::new("mkfifo")
        .args(["-m", "0600"])
        .args(&wanted)
        .status()
        .context("cannot run mkfifo")?;
    anyhow::ensure!(made.success(), "mkfifo in {} failed", vm.dir().display());
    Ok(())
}

fn exited(vm: &VmPaths, name: &str, status: ExitStatus) -> LaunchError {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended at once with status {code}"),
        (None, Some(signal)) => format!("was ended at once by signal {signal}"),
        (None, None) => "ended at once".to_owned(),
    };
    failed(vm, name, how)
}

fn failed(vm: &VmPaths, name: &str, how: String) -> LaunchError {
    let said = last_lines(&vm.qemu_log(), 8);
    let mut shown = String::new();
    for line in said.lines() {
        let _ = write!(shown, "\n  | {line}");
    }
    if shown.is_empty() {
        shown.push_str(" and said nothing");
    }
    let _ = write!(shown, "\n  all of it: {}", vm.qemu_log().display());
    if let Some(hint) = hint(&said) {
        let _ = write!(shown, "\n  hint: {hint}");
    }
    LaunchError {
        vm: name.to_owned(),
        how,
        said,
        shown,
    }
}

/// The last `count` lines of a file; nothing if it can't be read.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// What QEMU says, and what to do about it.
const HINTS: &[(&str, &str)] = &[
    (
        "Failed to get \"write\" lock",
        "another QEMU has this disk open: `lab status` shows the lab's; end the other one",
    ),
    (
        "Failed to get shared \"write\" lock",
        "another QEMU has this disk open: `lab status` shows the lab's; end the other one",
    ),
    (
        "host forwarding rule",
        "the forwarded port is taken; start again to have another one chosen",
    ),
    (
        "No space left on device",
        "the disk is full: free some space and start again",
    ),
    (
        "Cannot allocate memory",
        "the host has not enough memory: lower `memory` in lab.toml or stop another VM",
    ),
    (
        "socket_vmnet",
        "start the lab's daemon first: sudo socket_vmnet --vmnet-mode=host --vmnet-network-identifier=NET-UUID SOCKET (docs/networking.md)",
    ),
    (
        "failed to initialize",
        "the accelerator in build/host.toml does not work any more: `make configure` tries them anew",
    ),
    (
        "invalid accelerator",
        "the accelerator in build/host.toml is not in this QEMU: `make configure` tries them anew",
    ),
    (
        "No such file or directory",
        "a file of the command line is gone: `make up` makes it anew; if it is firmware, `make configure` looks for it",
    ),
];

fn hint(said: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find(|(pattern, _)| said.contains(pattern))
        .map(|(_, hint)| *hint)
}
