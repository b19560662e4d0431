//! Which runs' logs go: by count, by age, and (looked at once an hour) by size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::time;

const HOUR: Duration = Duration::from_secs(3600);

/// Limits of the logs of a checkout.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Runs.
    pub runs: usize,
    /// Bytes.
    pub size: u64,
    /// Seconds.
    pub age: u64,
}

/// The folders of all runs, oldest first.
pub(super) fn folders(runs: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| {
            let name = e.file_name();
            // `20260131-120000-4711`; files of older versions begin with a letter
            name.as_encoded_bytes()
                .first()
                .is_some_and(u8::is_ascii_digit)
        })
        .map(|e| e.path())
        .collect();
    folders.sort();
    folders
}

/// Removes runs below `runs` that are over `limits`; the one called `own` stays. True once an hour.
pub(super) fn retire(runs: &Path, own: &str, limits: Limits) -> bool {
    let mut folders = folders(runs);
    folders.retain(|f| !f.ends_with(own));
    let oldest = time::compact(time::seconds().saturating_sub(limits.age));
    let others = limits.runs.max(1) - 1;
    let surplus = folders.len().saturating_sub(others);
    let old = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes() < oldest.as_bytes()
    };
    let mut gone = 0;
    for (i, path) in folders.iter().enumerate() {
        if i >= surplus && !old(path) {
            break;
        }
        gone += 1;
        // what can't be removed is tried again next time
        let _ = fs::remove_dir_all(path);
    }
    let rest = &folders[gone..];
    let due = due(&runs.join("weighed"));
    if due {
        let mut total = 0u64;
        for path in rest.iter().rev() {
            total = total.saturating_add(size(path));
            if total > limits.size {
                let _ = fs::remove_dir_all(path);
            }
        }
        // the index of versions before one per run
        let _ = fs::remove_file(runs.join("index"));
    }
    if due || gone > 0 {
        forget_makes(runs);
    }
    due
}

/// Forgets Makes whose run is gone; those that still run are younger than any run that went.
fn forget_makes(runs: &Path) {
    let list = fs::read_dir(runs.join("by-make"));
    for item in list.into_iter().flatten().flatten() {
        if fs::read_to_string(item.path()).is_ok_and(|id| !runs.join(id).is_dir()) {
            let _ = fs::remove_file(item.path());
        }
    }
}

/// True once an hour.
fn due(stamp: &Path) -> bool {
    let fresh = fs::metadata(stamp)
        .and_then(|m| m.modified())
        .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|d| d < HOUR));
    if !fresh {
        let _ = fs::write(stamp, b"");
    }
    !fresh
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Limits = Limits {
        runs: 99,
        size: u64::MAX,
        age: 1 << 40,
    };

    fn left(limits: Limits, weigh: bool) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let now = time::seconds();
        for days in [400, 20, 10, 1] {
            let name = format!("{}-{days}", time::compact(now - days * 86_400));
            fs::create_dir(dir.path().join(&name)).unwrap();
            fs::write(dir.path().join(name).join("t.log"), [0; 1000]).unwrap();
        }
        if !weigh {
            fs::write(dir.path().join("weighed"), "").unwrap();
        }
        let own = format!("{}-0", time::compact(now));
        fs::create_dir(dir.path().join(&own)).unwrap();
        retire(dir.path(), &own, limits);
        folders(dir.path())
            .iter()
            .map(|p| p.to_str().unwrap().rsplit_once('-').unwrap().1.to_owned())
            .collect()
    }

    #[test]
    fn by_count_age_and_size() {
        assert_eq!(left(NEVER, true), ["400", "20", "10", "1", "0"]);
        assert_eq!(left(Limits { runs: 3, ..NEVER }, true), ["10", "1", "0"]);
        assert_eq!(left(Limits { runs: 0, ..NEVER }, true), ["0"]);
        let month = 30 * 86_400;
        assert_eq!(
            left(
                Limits {
                    age: month,
                    ..NEVER
                },
                true
            ),
            ["20", "10", "1", "0"]
        );
        assert_eq!(
            left(
                Limits {
                    size: 2500,
                    ..NEVER
                },
                true
            ),
            ["10", "1", "0"]
        );
        // only once an hour
        assert_eq!(
            left(
                Limits {
                    size: 2500,
                    ..NEVER
                },
                false
            )
            .len(),
            5
        );
    }
}
