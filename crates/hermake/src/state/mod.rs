//! What this checkout knows: per task the last result, with the fingerprints of all files that it rests on.
//!
//! One append-only file, so that a no-op reads one file however many tasks there are and
//! many processes of one Make may add to it. See `docs/decisions/030-one-state-file.md`.

mod frames;
mod statcache;

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use statcache::StatCache;

use crate::fs::glob::Listed;
use crate::fs::tree::Stamped;
use crate::fs::{Digest, Fingerprint, RelPath, lock};
use crate::manifest::Manifest;
use frames::{Frame, Kind};

/// A program that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFile {
    /// As called.
    pub name: String,
    /// Where it was found.
    pub path: RelPath,
    /// Its fingerprint, following symlinks.
    pub fp: Fingerprint,
    /// Its content.
    pub digest: Digest,
}

/// The last result of a task in this checkout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskState {
    /// The task's id.
    pub id: String,
    /// Digest of its definition.
    pub def: [u8; 32],
    /// Its key.
    pub key: Digest,
    /// The boot in which the outputs were last read: after a power loss they are read again.
    pub boot: u64,
    /// What the key was made from.
    pub manifest: Manifest,
    /// Fingerprints of the manifest's inputs, in their order.
    pub input_fps: Vec<Fingerprint>,
    /// Directories that globs looked into.
    pub dirs: Vec<Listed>,
    /// Programs.
    pub tools: Vec<ToolFile>,
    /// Needed tasks (by id) and the digest of their results.
    pub needs: Vec<(String, Digest)>,
    /// The outputs, in the order of declaration.
    pub outputs: Vec<Vec<Stamped>>,
    /// Digest of all outputs, or the key if there are none.
    pub result: Digest,
    /// The run that made the result, if it was in this checkout.
    pub run: Option<String>,
}

/// A file's digest as of a fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Known {
    /// Relative to the project's root, or absolute.
    pub path: RelPath,
    /// When it had this fingerprint,
    pub fp: Fingerprint,
    /// it had this digest.
    pub digest: Digest,
}

/// The state file, read.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    bytes: Vec<u8>,
    inode: (u64, u64),
    latest: HashMap<u64, Frame>,
    files: Vec<Frame>,
    /// Up to here frames have been checked.
    checked: usize,
}

impl State {
    /// Reads the state below `root` (nothing is no error: then nothing is known).
    pub fn open(root: &Path) -> Self {
        let mut state = Self {
            folder: root.join("build/.hermake"),
            bytes: Vec::new(),
            inode: (0, 0),
            latest: HashMap::new(),
            files: Vec::new(),
            checked: 0,
        };
        state.refresh();
        state
    }

    fn path(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Reads what other processes have added.
    pub fn refresh(&mut self) {
        let Ok(mut file) = fs::File::open(self.path()) else {
            self.reset();
            return;
        };
        let Ok(meta) = file.metadata() else { return };
        let inode = (meta.dev(), meta.ino());
        // another file, or one that was cut below what was good: read from the start
        if inode != self.inode || meta.len() < self.bytes.len() as u64 {
            self.reset();
            self.inode = inode;
        }
        let known = self.bytes.len();
        if meta.len() == known as u64 {
            return;
        }
        // what can't be read isn't known; tasks are then checked against the store
        let from = file.seek(SeekFrom::Start(known as u64));
        if from
            .and_then(|_| file.read_to_end(&mut self.bytes))
            .is_err()
        {
            self.bytes.truncate(known);
        }
        self.index(known);
    }

    /// Finds the frames from byte `from` on.
    fn index(&mut self, from: usize) {
        let (frames, end) = frames::scan(&self.bytes, from);
        self.bytes.truncate(end);
        for frame in frames {
            match frame.kind {
                Kind::Task => {
                    self.latest.insert(frame.id, frame);
                }
                Kind::Files => self.files.push(frame),
            }
        }
    }

    fn reset(&mut self) {
        self.latest.clear();
        self.files.clear();
        self.bytes.clear();
        self.checked = 0;
        self.inode = (0, 0);
    }

    /// The last result of the task `id`.
    pub fn task(&self, id: &str) -> Option<TaskState> {
        let frame = self.latest.get(&frames::id(id))?;
        let state: TaskState = postcard::from_bytes(frame.payload(&self.bytes)?).ok()?;
        (state.id == id).then_some(state)
    }

    /// All tasks' last results.
    pub fn tasks(&self) -> impl Iterator<Item = TaskState> {
        self.latest
            .values()
            .filter_map(|f| postcard::from_bytes(f.payload(&self.bytes)?).ok())
    }

    /// Digests of files that were recorded apart from tasks.
    pub fn files(&self) -> impl Iterator<Item = Known> {
        self.files
            .iter()
            .filter_map(|f| postcard::from_bytes::<Vec<Known>>(f.payload(&self.bytes)?).ok())
            .flatten()
    }

    /// Adds a task's result.
    pub fn record(&mut self, task: &TaskState) -> Result<()> {
        let payload = postcard::to_stdvec(task).context("encoding a task's state")?;
        self.append(Kind::Task, frames::id(&task.id), &payload)
    }

    /// Adds digests of files.
    pub fn record_files(&mut self, known: &[Known]) -> Result<()> {
        if known.is_empty() {
            return Ok(());
        }
        let payload = postcard::to_stdvec(known).context("encoding digests")?;
        self.append(Kind::Files, 0, &payload)
    }

    /// Forgets the task `id`.
    pub fn forget(&mut self, id: &str) -> Result<()> {
        self.append(Kind::Task, frames::id(id), &[])
    }

    fn append(&mut self, kind: Kind, id: u64, payload: &[u8]) -> Result<()> {
        let _lock = lock::exclusive(&self.folder.join("state.lock"), || ())?;
        self.refresh();
        // nothing is written behind what is damaged: it would not be found again
        if frames::good(&self.bytes, self.checked) < self.bytes.len() {
            // another process may have cut it off already: what is in the file counts
            self.reset();
            self.refresh();
            let good = frames::good(&self.bytes, 0);
            self.bytes.truncate(good);
            self.latest.clear();
            self.files.clear();
            self.index(0);
        }
        self.checked = self.bytes.len();
        let path = self.path();
        let what = || format!("writing {}", path.display());
        let frame = frames::encode(kind, id, payload);
        if frames::worth_compacting(self.bytes.len(), self.live()) {
            let mut whole = frames::HEADER.to_vec();
            for old in self.latest.values().filter(|f| f.id != id) {
                let bytes = &self.bytes[old.range.clone()];
                whole.extend(frames::encode(Kind::Task, old.id, bytes));
            }
            whole.extend(frame);
            crate::fs::atomic::write(&path, &whole)?;
        } else {
            let mut file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(what)?;
            // cuts off what a killed process left half-written
            file.set_len(self.bytes.len() as u64).with_context(what)?;
            file.seek(SeekFrom::End(0)).with_context(what)?;
            let mut bytes = Vec::new();
            if self.bytes.is_empty() {
                bytes.extend_from_slice(frames::HEADER);
            }
            bytes.extend(frame);
            file.write_all(&bytes).with_context(what)?;
        }
        self.refresh();
        Ok(())
    }

    fn live(&self) -> usize {
        self.latest.values().map(|f| f.range.len()).sum()
    }
}

/// Identifies the boot of the machine; 0 if that can't be known.
pub fn boot() -> u64 {
    let text = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if text.is_empty() {
        return 0;
    }
    frames::hash64(&text)
}
