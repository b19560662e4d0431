//! Processes that a task left running: found, ended and named.

use std::fs;
use std::path::Path;
use std::sync::Once;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

static ONCE: Once = Once::new();

/// From now on what our children leave behind becomes our child instead of init's.
pub fn adopt() {
    ONCE.call_once(|| {
        #[cfg(target_os = "linux")]
        {
            // without it a daemon of a task is not found, nothing worse
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
    });
}

/// Ends all our children whose environment holds `mark`, also those in sessions of their own; names them.
pub fn end_marked(mark: &str) -> String {
    let mut names = Vec::new();
    // each round ends one generation; their children become ours
    for _ in 0..16 {
        let marked: Vec<Pid> = children()
            .into_iter()
            .filter(|pid| has(*pid, mark))
            .collect();
        if marked.is_empty() {
            break;
        }
        for pid in marked {
            names.push(name(pid));
            // it may have ended by itself meanwhile
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
    names.join(", ")
}

/// Ends all processes that have a path below `dir` among their arguments.
pub fn end_called_with(dir: &Path) {
    let path = dir.as_os_str().as_encoded_bytes();
    for item in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = item
            .file_name()
            .to_str()
            .and_then(|n| Pid::from_raw(n.parse().ok()?))
        else {
            continue;
        };
        let arguments = fs::read(item.path().join("cmdline")).unwrap_or_default();
        if arguments.windows(path.len()).any(|w| w == path) {
            // it may have ended by itself meanwhile
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Names of the processes of a group.
pub fn names_of_group(group: Pid) -> String {
    let names: Vec<_> = children()
        .into_iter()
        .filter(|pid| group_of(*pid) == Some(group))
        .map(name)
        .collect();
    if names.is_empty() {
        "a process".to_owned()
    } else {
        names.join(", ")
    }
}

/// Children of the first thread: what is adopted becomes its, whichever thread's task left it.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    fs::read_to_string(format!("/proc/self/task/{own}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|p| Pid::from_raw(p.parse().ok()?))
        .collect()
}

fn has(pid: Pid, mark: &str) -> bool {
    let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environ.windows(mark.len()).any(|w| w == mark.as_bytes())
}

fn name(pid: Pid) -> String {
    let comm =
        fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
    format!("{} (pid {})", comm.trim(), pid.as_raw_nonzero())
}

fn group_of(pid: Pid) -> Option<Pid> {
    rustix::process::getpgid(Some(pid)).ok()
}
