//! Reading logs back.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Ending, Event, Header, Indexed, pack, retire};

/// All tasks that ran or were restored in this checkout, oldest first. Lines that can't be read are left out.
pub fn index(hermake: &Path) -> Vec<Indexed> {
    let mut all: Vec<Indexed> = folders(hermake)
        .iter()
        .flat_map(|folder| entries(folder))
        .collect();
    // runs may overlap
    all.sort_by_key(|e| e.started_us);
    all
}

/// The same, and tasks whose logs have no end: they still run, or hermake was killed.
pub fn index_with_open(hermake: &Path) -> Vec<Indexed> {
    let mut all = index(hermake);
    let runs = hermake.join("runs");
    let ended: HashSet<PathBuf> = all.iter().map(|e| runs.join(&e.log)).collect();
    for folder in folders(hermake) {
        let logs = fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in logs.map(|e| e.path()) {
            if path.extension().is_some_and(|e| e == "log") && !ended.contains(&path) {
                all.extend(open(&folder, &path));
            }
        }
    }
    all.sort_by_key(|e| e.started_us);
    all
}

fn open(folder: &Path, path: &Path) -> Option<Indexed> {
    let log = parse(&fs::read(path).ok()?);
    let header = log.header?;
    Some(Indexed {
        run: folder.file_name()?.to_string_lossy().into_owned(),
        id: header.task.clone(),
        task: header.task,
        ending: Ending::Open,
        what: String::new(),
        why: header.why.line(),
        started_us: header.started_us,
        took_us: log.events.last().map_or(0, |e| e.t.saturating_mul(1000)),
        saved_us: None,
        pid: 0,
        spans: Vec::new(),
        log: path
            .strip_prefix(folder.parent()?)
            .ok()?
            .display()
            .to_string(),
    })
}

/// The folders of all runs, oldest first.
pub fn folders(hermake: &Path) -> Vec<PathBuf> {
    retire::folders(&hermake.join("runs"))
}

/// The index of one run.
pub fn entries(folder: &Path) -> Vec<Indexed> {
    let text = fs::read(folder.join("index")).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// A log, parsed.
#[derive(Debug)]
pub struct Parsed {
    /// What was run.
    pub header: Option<Header>,
    /// What was printed.
    pub events: Vec<Event>,
}

/// Parses a log, compressed or not. A line that is not whole yet is left out.
pub fn parse(raw: &[u8]) -> Parsed {
    let text = pack::text(raw);
    let mut lines = text.lines();
    let header = lines.next().and_then(|l| serde_json::from_str(l).ok());
    Parsed {
        header,
        events: lines.filter_map(|l| serde_json::from_str(l).ok()).collect(),
    }
}

/// Reads the log of `entry`.
pub fn log(hermake: &Path, entry: &Indexed) -> Result<Parsed> {
    let path = hermake.join("runs").join(&entry.log);
    let raw = fs::read(&path)
        .with_context(|| format!("reading {} (old runs are removed)", path.display()))?;
    Ok(parse(&raw))
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn no_log_makes_it_panic(raw in proptest::collection::vec(0u8..=255, 0..200), text in "(\\{\"t\":[0-9-]{0,30},\"s\":\"\\PC?\",\"l\":.*\\}\n?){0,3}") {
            let _ = super::parse(&raw);
            let _ = super::parse(text.as_bytes());
        }
    }
}
