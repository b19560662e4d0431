//! What happened: a file that only grows, bounded, and whole after a crash.

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use fs_err as fs;
use protocol::{Event, EventPage};

/// Once the file is this long, it becomes the old one and a new one is begun.
const ROTATE_AT: u64 = 4 << 20;
/// How many events are kept in memory to be asked for.
const KEEP: usize = 8192;
/// How many events one answer holds at most.
const PAGE: usize = 1000;

/// The events, in `events.jsonl` and, before those, `events.1.jsonl`.
pub struct EventLog {
    path: PathBuf,
    file: fs::File,
    length: u64,
    rotate_at: u64,
    last: u64,
    recent: VecDeque<Event>,
}

impl EventLog {
    /// Opens the log in `folder`. A last line that a crash left torn is cut off.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        Self::open_with(folder, ROTATE_AT)
    }

    fn open_with(folder: &Path, rotate_at: u64) -> anyhow::Result<Self> {
        let path = folder.join("events.jsonl");
        let mut recent = read(&old(&path))?.1;
        let (length, events) = read(&path)?;
        recent.extend(events);
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)?;
        file.set_len(length)?;
        let last = recent.iter().map(|event| event.seq).max().unwrap_or(0);
        let mut log = Self {
            path,
            file,
            length,
            rotate_at,
            last,
            recent,
        };
        log.forget();
        Ok(log)
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Appends `event` under the next number, and syncs the file if `durable`.
    pub fn append(&mut self, mut event: Event, durable: bool) -> anyhow::Result<u64> {
        event.seq = self.last + 1;
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| {
            if durable {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        if let Err(error) = written {
            // what got out of the line must not be taken for the begin of the next one
            self.file.set_len(self.length)?;
            return Err(error).context("can't append to the events");
        }
        self.length += line.len() as u64;
        self.last = event.seq;
        self.recent.push_back(event);
        self.forget();
        if self.length >= self.rotate_at {
            self.rotate()
                .with_context(|| format!("can't rotate {}", self.path.display()))?;
        }
        Ok(self.last)
    }

    /// The events after number `since`, oldest first.
    pub fn page(&self, since: u64) -> EventPage {
        let events: Vec<_> = self
            .recent
            .iter()
            .filter(|event| event.seq > since)
            .take(PAGE)
            .cloned()
            .collect();
        let oldest = self.recent.front().map_or(self.last + 1, |event| event.seq);
        EventPage {
            next: events.last().map_or(self.last, |event| event.seq),
            dropped: oldest.saturating_sub(since.saturating_add(1)),
            events,
        }
    }

    fn forget(&mut self) {
        while self.recent.len() > KEEP {
            self.recent.pop_front();
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, old(&self.path))?;
        self.file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

fn old(path: &Path) -> PathBuf {
    path.with_file_name("events.1.jsonl")
}

/// The whole events of a file, and how many of its bytes they are.
fn read(path: &Path) -> anyhow::Result<(u64, VecDeque<Event>)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut events = VecDeque::new();
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice(line) else {
            break;
        };
        if !line.ends_with(b"\n") {
            break;
        }
        length += line.len() as u64;
        events.push_back(event);
    }
    Ok((length, events))
}

#[cfg(test)]
mod tests;
