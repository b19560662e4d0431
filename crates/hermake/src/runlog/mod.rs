//! What tasks printed: every run of every task, one folder a run. A failure to record never fails a task.
//!
//! ```text
//! build/.hermake/runs/20260131-120000-4711/<task>.log   JSON lines: a header, one per line printed, an end
//! build/.hermake/runs/index                             JSON lines: one per task that ran
//! ```

pub mod read;
pub mod time;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::config::Task;
use crate::engine::why::Why;
use crate::exec::command::Stream;

/// Last lines that a failure shows.
const TAIL: usize = 20;
/// Up to so many bytes of a log are kept with the result in the store.
const KEPT: usize = 64 << 10;

/// How a task's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Well.
    Ok,
    /// Not.
    Failed,
    /// We were asked to stop.
    Interrupted,
}

/// A line of the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Indexed {
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// Its id.
    pub id: String,
    /// How it ended.
    pub ending: Ending,
    /// More about a bad end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// Why it ran.
    pub why: String,
    /// When, in seconds since the epoch.
    pub started: u64,
    /// For how long, in milliseconds.
    pub took: u64,
    /// The log, relative to the folder of runs.
    pub log: String,
}

/// The first line of a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The task.
    pub task: String,
    /// What was run.
    pub argv: Vec<String>,
    /// Why.
    pub why: String,
    /// When, in seconds since the epoch.
    pub started: u64,
}

/// A line that was printed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since the start.
    pub t: u64,
    /// `o` standard output, `e` standard error, `h` hermake itself.
    pub s: char,
    /// The line.
    pub l: String,
}

/// A run: this process, or all processes that one Make starts.
#[derive(Debug)]
pub struct Run {
    id: String,
    runs: PathBuf,
}

impl Run {
    /// Begins a run below `hermake`, or joins the one that Make began.
    pub fn begin(hermake: &Path, keep: usize) -> Self {
        let runs = hermake.join("runs");
        let own = || format!("{}-{}", time::compact(time::seconds()), std::process::id());
        let id = match parent_make() {
            Some(parent) => joined(&runs.join("by-make").join(parent), own),
            None => own(),
        };
        let folder = runs.join(&id);
        if !folder.is_dir() {
            // what can't be created can't be written to later, and that is borne there
            let _ = fs::create_dir_all(&folder);
            retire(&runs, keep);
        }
        Self { id, runs }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Begins the log of a task.
    pub fn task(&self, task: &Task, why: &Why, argv: &[String]) -> TaskLog {
        let name = task.id.replace(['/', '\\'], "_");
        let path = self.runs.join(&self.id).join(format!("{name}.log"));
        let header = Header {
            task: task.name.clone(),
            argv: argv
                .iter()
                .map(|a| crate::engine::plan::named(task, a))
                .collect(),
            why: why.line(),
            started: time::seconds(),
        };
        let mut log = TaskLog {
            file: File::create(&path).ok(),
            path,
            id: task.id.clone(),
            why: header.why.clone(),
            name: task.name.clone(),
            started: header.started,
            clock: Instant::now(),
            tail: VecDeque::new(),
            kept: Vec::new(),
        };
        log.write(&serde_json::to_string(&header).unwrap_or_default());
        log
    }

    /// Ends a task's log and adds it to the index; gives the log's path.
    pub fn end(&self, log: &mut TaskLog, ending: Ending, what: &str) -> Option<PathBuf> {
        let line = Indexed {
            run: self.id.clone(),
            task: log.name.clone(),
            id: log.id.clone(),
            ending,
            what: what.to_owned(),
            why: log.why.clone(),
            started: log.started,
            took: log.took(),
            log: log
                .path
                .strip_prefix(&self.runs)
                .unwrap_or(&log.path)
                .display()
                .to_string(),
        };
        log.file.take()?;
        let mut text = serde_json::to_string(&line).ok()?;
        text.push('\n');
        let mut index = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.runs.join("index"))
            .ok()?;
        index.write_all(text.as_bytes()).ok()?;
        Some(log.path.clone())
    }
}

/// Identifies the Make that started us, across the processes that it starts.
fn parent_make() -> Option<String> {
    std::env::var_os("MAKELEVEL")?;
    let parent = rustix::process::getppid()?.as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1;
    let started = fields.split_whitespace().nth(19)?;
    Some(format!("{parent}-{started}"))
}

/// The run that is named in `path`, or a new one that is named there from now on.
fn joined(path: &Path, own: impl Fn() -> String) -> String {
    if let Ok(id) = fs::read_to_string(path)
        && !id.is_empty()
    {
        return id;
    }
    let id = own();
    // two at once: the one that is renamed last wins, and both have a run
    if crate::fs::atomic::write(path, id.as_bytes()).is_ok() {
        return fs::read_to_string(path).unwrap_or(id);
    }
    id
}

/// Removes the oldest runs.
fn retire(runs: &Path, keep: usize) {
    let mut names: Vec<_> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| {
            e.file_name()
                .as_encoded_bytes()
                .first()
                .is_some_and(u8::is_ascii_digit)
        })
        .map(|e| e.path())
        .collect();
    names.sort();
    let surplus = names.len().saturating_sub(keep.max(1));
    for path in names.into_iter().take(surplus) {
        let _ = fs::remove_dir_all(path);
    }
    if surplus > 0 {
        // Makes that are gone; those that run are younger than the oldest kept run
        for item in fs::read_dir(runs.join("by-make"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let gone = fs::read_to_string(item.path()).is_ok_and(|id| !runs.join(id).is_dir());
            if gone {
                let _ = fs::remove_file(item.path());
            }
        }
    }
}

/// The log of a task that runs.
#[derive(Debug)]
pub struct TaskLog {
    file: Option<File>,
    path: PathBuf,
    id: String,
    why: String,
    name: String,
    started: u64,
    clock: Instant,
    tail: VecDeque<String>,
    kept: Vec<u8>,
}

impl TaskLog {
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

    /// Milliseconds since the start.
    pub fn took(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What goes to the store with the result.
    pub fn kept(&self) -> Vec<u8> {
        self.kept.clone()
    }
}
