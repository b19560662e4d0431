//! The first process of a sandbox: runs the task, and tells if it left something running.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{WaitOptions, wait};

use crate::exec::command::End;

/// The first argument that makes hermake an init.
pub const WORD: &str = "__init";
/// Where it writes what an exit status can't say, as the sandbox sees it.
const NOTE: &str = "/home/task/.hermake-note";
/// The same in the stage.
const NOTE_IN_STAGE: &str = "home/.hermake-note";
/// Exit status for what can't be started, as of shells.
const NOT_STARTED: u8 = 127;

/// Runs `argv` and ends as it ended. When this process ends, the kernel ends all others of the sandbox.
pub fn main(argv: &[OsString]) -> ExitCode {
    let Some(program) = argv.first() else {
        return ExitCode::from(NOT_STARTED);
    };
    // looked up along the task's own PATH: this process has the task's environment
    let spawned = Command::new(program).args(&argv[1..]).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(e) => {
            eprintln!("hermake: starting `{}`: {e}", program.to_string_lossy());
            return ExitCode::from(NOT_STARTED);
        }
    };
    let status = match child.wait() {
        Ok(status) => status,
        Err(e) => {
            eprintln!("hermake: waiting for `{}`: {e}", program.to_string_lossy());
            return ExitCode::from(NOT_STARTED);
        }
    };
    let left = left();
    // without the note the end is still a failure, only told of less well
    match (status.code(), status.signal()) {
        (Some(0), _) if !left.is_empty() => {
            let _ = fs::write(NOTE, format!("left {}", left.join(", ")));
            ExitCode::FAILURE
        }
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        (None, signal) => {
            let _ = fs::write(NOTE, format!("signal {}", signal.unwrap_or(0)));
            ExitCode::FAILURE
        }
    }
}

/// What `end` really was, if the init in `stage` left a note.
pub fn explain(stage: &Path, end: End) -> End {
    if !matches!(end, End::Code(_)) {
        return end;
    }
    let note = fs::read_to_string(stage.join(NOTE_IN_STAGE)).unwrap_or_default();
    match note.split_once(' ') {
        Some(("left", names)) => End::LeftBehind(names.to_owned()),
        Some(("signal", number)) => End::Killed(number.parse().unwrap_or(0)),
        _ => end,
    }
}

/// Names of the processes that still run, after those that have just ended are taken away.
fn left() -> Vec<String> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            // none is left, not even one that runs
            Err(_) => return Vec::new(),
            Ok(None) => break,
        }
    }
    let mut names = Vec::new();
    for item in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid: Option<u32> = item.file_name().to_str().and_then(|n| n.parse().ok());
        if pid.is_some_and(|p| p != 1) {
            let comm = fs::read_to_string(item.path().join("comm")).unwrap_or_default();
            names.push(comm.trim().to_owned());
        }
    }
    if names.is_empty() {
        names.push("a process".to_owned());
    }
    names
}
