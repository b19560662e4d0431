//! Reading logs back.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Event, Header, Indexed};

/// All tasks that ran in this checkout, oldest first. Lines that can't be read are left out.
pub fn index(hermake: &Path) -> Vec<Indexed> {
    fs::read_to_string(hermake.join("runs/index"))
        .unwrap_or_default()
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

/// Parses the text of a log.
pub fn parse(text: &str) -> Parsed {
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
    let text = fs::read_to_string(&path)
        .with_context(|| format!("reading {} (old runs are removed)", path.display()))?;
    Ok(parse(&text))
}
