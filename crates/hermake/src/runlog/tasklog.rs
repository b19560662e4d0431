//! The log of a task while it runs.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Event, Header, Span, pack, time};
use crate::exec::command::Stream;
use crate::fs::Digest;

/// Last lines that a failure shows.
const TAIL: usize = 20;
/// Up to so many bytes of a log are kept with the result in the store.
const KEPT: usize = 64 << 10;
/// Longer names are shortened, since a file's name is limited.
const LONGEST_NAME: usize = 100;

/// The log of a task that runs.
#[derive(Debug)]
pub struct TaskLog {
    file: Option<File>,
    path: PathBuf,
    pub(super) id: String,
    pub(super) header: Header,
    clock: Instant,
    tail: VecDeque<String>,
    kept: Vec<u8>,
    pub(super) spans: Vec<Span>,
}

impl TaskLog {
    /// Begins a log in the folder of a run.
    pub(super) fn new(folder: &Path, id: &str, header: Header) -> Self {
        let (file, path) = create(folder, id);
        let mut log = Self {
            file,
            path,
            id: id.to_owned(),
            clock: Instant::now(),
            tail: VecDeque::new(),
            kept: Vec::new(),
            spans: Vec::new(),
            header,
        };
        log.write(&serde_json::to_string(&log.header).unwrap_or_default());
        log
    }

    /// Adds a line that the task printed.
    pub fn line(&mut self, stream: Stream, text: &str) {
        let s = if stream == Stream::Out { 'o' } else { 'e' };
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.to_owned());
        self.event(s, text);
    }

    /// Adds a line of hermake's own.
    pub fn note(&mut self, text: &str) {
        self.event('h', text);
    }

    /// Notes that the command `name` ran since `from_us`.
    pub fn span(&mut self, name: &str, from_us: u64) {
        self.spans.push(Span {
            name: name.to_owned(),
            from_us,
            took_us: self.took_us().saturating_sub(from_us),
        });
    }

    fn event(&mut self, s: char, text: &str) {
        let event = Event {
            t: self.took(),
            s,
            l: text.to_owned(),
        };
        let line = serde_json::to_string(&event).unwrap_or_default();
        self.write(&line);
    }

    fn write(&mut self, line: &str) {
        if self.kept.len() < KEPT {
            self.kept.extend_from_slice(line.as_bytes());
            self.kept.push(b'\n');
        }
        if let Some(file) = &mut self.file {
            let whole = format!("{line}\n");
            if file.write_all(whole.as_bytes()).is_err() {
                self.file = None;
            }
        }
    }

    /// Ends it: gives where it is, if it could be written.
    pub(super) fn close(&mut self) -> Option<PathBuf> {
        self.file.take()?;
        self.path = pack::file(&self.path);
        Some(self.path.clone())
    }

    /// Microseconds since the start.
    pub fn took_us(&self) -> u64 {
        time::micros(self.clock.elapsed())
    }

    /// Milliseconds since the start.
    pub fn took(&self) -> u64 {
        self.took_us() / 1000
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.header.task
    }

    /// What goes to the store with the result.
    pub fn kept(&self) -> Vec<u8> {
        pack::bytes(&self.kept)
    }
}

/// A task may run several times in one run, and ids may differ only in what a file's name can't have.
fn create(folder: &Path, id: &str) -> (Option<File>, PathBuf) {
    let name = file_name(id);
    for number in 1..1000u32 {
        let name = match number {
            1 => format!("{name}.log"),
            n => format!("{name}~{n}.log"),
        };
        let path = folder.join(name);
        if path.with_extension("log.gz").exists() {
            continue;
        }
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return (Some(file), path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(_) => return (None, path),
        }
    }
    (None, folder.join(name))
}

fn file_name(id: &str) -> String {
    let name = id.replace(['/', '\\', '\0'], "_");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let short: String = name.chars().take(40).collect();
    format!("{short}~{}", Digest::of(id.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_fit() {
        assert_eq!(super::file_name("t@A=x/y"), "t@A=x_y");
        assert!(super::file_name(&"é".repeat(300)).len() < 120);
    }
}
