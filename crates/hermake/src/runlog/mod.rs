//! What tasks printed: every run of every task, one folder a run. A failure to record never fails a task.
//!
//! ```text
//! build/.hermake/runs/20260131-120000-4711/index        JSON lines: one per task that ran or was restored
//! build/.hermake/runs/20260131-120000-4711/<task>.log   JSON lines: a header, then one per line printed
//! build/.hermake/runs/by-make/<pid>-<start>             names the run that this Make's processes share
//! ```
//!
//! Each run has an index of its own: no lock is needed, and what goes with a run goes whole.

mod entry;
mod joined;
mod pack;
pub mod read;
mod retire;
mod tasklog;
pub mod time;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::config::Task;
use crate::config::secret::hidden;
use crate::engine::why::Why;
use crate::fs::atomic;
pub use entry::{Ending, Event, Header, Indexed, Span};
pub use retire::Limits;
pub use tasklog::TaskLog;

/// Outputs that have been on their way back from the store for so many seconds never come.
const UNFINISHED: i64 = 24 * 3600;

/// A run: this process, or all processes that one Make starts.
#[derive(Debug)]
pub struct Run {
    id: String,
    runs: PathBuf,
    index: Option<File>,
    /// Lines of the index about what was restored: many come at once, so they are written at the end.
    restored: Mutex<Vec<u8>>,
}

impl Run {
    /// Begins a run below `hermake`, or joins the one that Make began.
    pub fn begin(hermake: &Path, limits: Limits) -> Self {
        let runs = hermake.join("runs");
        let own = format!("{}-{}", time::compact(time::seconds()), std::process::id());
        let id = match joined::make() {
            Some(parent) => joined::at(&runs.join("by-make").join(parent), own),
            None => own,
        };
        let folder = runs.join(&id);
        if !folder.is_dir() {
            // what can't be created can't be written to later, and that is borne there
            let _ = fs::create_dir_all(&folder);
            if retire::retire(&runs, &id, limits) {
                atomic::sweep(&hermake.join("tmp"), UNFINISHED);
            }
        }
        let index = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("index"))
            .ok();
        Self {
            id,
            runs,
            index,
            restored: Mutex::default(),
        }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Begins the log of a task.
    pub fn task(&self, task: &Task, why: &Why, argv: &[String]) -> TaskLog {
        let header = Header {
            task: task.name.clone(),
            argv: argv
                .iter()
                .map(|a| hidden(&crate::engine::plan::named(task, a)))
                .collect(),
            why: why.clone(),
            started_us: time::now_us(),
        };
        TaskLog::new(&self.runs.join(&self.id), &task.id, header)
    }

    /// Ends a task's log and adds it to the index; gives the log's path.
    pub fn end(&self, log: &mut TaskLog, ending: Ending, what: &str) -> Option<PathBuf> {
        let took_us = log.took_us();
        let path = log.close();
        let relative = path.as_ref().and_then(|p| p.strip_prefix(&self.runs).ok());
        let line = Indexed {
            run: self.id.clone(),
            task: log.name().to_owned(),
            id: log.id.clone(),
            ending,
            what: what.to_owned(),
            why: log.header.why.line(),
            started_us: log.header.started_us,
            took_us,
            saved_us: None,
            pid: std::process::id(),
            spans: std::mem::take(&mut log.spans),
            log: relative.map_or_else(String::new, |p| p.display().to_string()),
        };
        if let (Some(mut index), Some(text)) = (self.index.as_ref(), encoded(&line)) {
            // one write: lines of parallel processes don't mix
            let _ = index.write_all(&text);
        }
        path
    }

    /// Notes that the outputs of a task came from the store since `started_us`; making them took `saved` ms.
    pub fn restored(&self, task: &Task, why: &Why, started_us: u64, saved: u64) {
        let line = Indexed {
            run: self.id.clone(),
            task: task.name.clone(),
            id: task.id.clone(),
            ending: Ending::Restored,
            what: String::new(),
            why: why.line(),
            started_us,
            took_us: time::now_us().saturating_sub(started_us),
            saved_us: Some(saved.saturating_mul(1000)),
            pid: std::process::id(),
            spans: Vec::new(),
            log: String::new(),
        };
        if let Some(text) = encoded(&line) {
            let mut held = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
            held.extend(text);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let held = self
            .restored
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &mut self.index {
            let _ = index.write_all(held);
        }
    }
}

fn encoded(line: &Indexed) -> Option<Vec<u8>> {
    let mut text = serde_json::to_vec(line).ok()?;
    text.push(b'\n');
    Some(text)
}
