//! Which run a process belongs to: all that one Make starts are one run.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// How far up the ancestors are looked at.
const FAR: usize = 64;

/// Identifies the outermost Make that started us, across the processes that it starts.
pub(super) fn make() -> Option<String> {
    let level: usize = std::env::var("MAKELEVEL").ok()?.parse().ok()?;
    let mut pid = rustix::process::getppid()?.as_raw_nonzero().get();
    // without a Make among the ancestors the variable is a leftover in somebody's shell
    let mut found = None;
    let mut makes = 0;
    for _ in 0..FAR {
        let Some(process) = Process::of(pid) else {
            break;
        };
        if process.is_make() {
            found = Some(process.id());
            makes += 1;
            if makes == level {
                break;
            }
        }
        if process.parent <= 1 {
            break;
        }
        pid = process.parent;
    }
    found
}

/// A line of /proc.
struct Process {
    pid: i32,
    name: String,
    parent: i32,
    started: String,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (front, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        Some(Self {
            pid,
            name: front.split_once('(')?.1.to_owned(),
            parent: fields.nth(1)?.parse().ok()?,
            started: fields.nth(17)?.to_owned(),
        })
    }

    /// By any of its names: `gmake`, `make-4.4`.
    fn is_make(&self) -> bool {
        const NAMES: [&str; 5] = ["make", "gmake", "gnumake", "remake", "bmake"];
        NAMES.contains(&self.name.as_str()) || self.name.starts_with("make-")
    }

    /// A pid alone may be used again.
    fn id(&self) -> String {
        format!("{}-{}", self.pid, self.started)
    }
}

/// The run that is named in `path`, or `own`, which is named there from now on.
pub(super) fn at(path: &Path, own: String) -> String {
    let read = || fs::read_to_string(path).ok().filter(|id| !id.is_empty());
    if let Some(id) = read() {
        return id;
    }
    // of several at once the first to link wins, whole
    let tmp = path.with_file_name(crate::fs::atomic::unique());
    let named = crate::fs::atomic::create_parent(path).is_ok()
        && File::create(&tmp).is_ok_and(|mut file| file.write_all(own.as_bytes()).is_ok())
        && fs::hard_link(&tmp, path).is_ok();
    let _ = fs::remove_file(&tmp);
    if named { own } else { read().unwrap_or(own) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_many_at_once_all_join_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("by-make/4711-1");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|i| {
                    let path = &path;
                    scope.spawn(move || super::at(path, format!("run {i}")))
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}
