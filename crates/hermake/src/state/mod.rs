//! What this checkout knows: per task the last result, with the fingerprints of all files that it rests on.
//!
//! One append-only file, so that a no-op reads one file however many tasks there are and
//! many processes of one Make may add to it. See `docs/decisions/030-one-state-file.md`.

mod frames;
mod glance;
mod statcache;

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use glance::Glance;
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
    /// Open once anything is there, with its device and inode.
    file: Option<(fs::File, (u64, u64))>,
    lock: Option<fs::File>,
    /// All of it up to the last whole frame.
    bytes: Vec<u8>,
    latest: HashMap<u64, Frame>,
    files: Vec<Frame>,
    /// Bytes of frames that count.
    live: usize,
}

impl State {
    /// Reads the state below `root` (nothing is no error: then nothing is known).
    pub fn open(root: &Path) -> Self {
        let mut state = Self {
            folder: root.join("build/.hermake"),
            file: None,
            lock: None,
            bytes: Vec::new(),
            latest: HashMap::new(),
            files: Vec::new(),
            live: 0,
        };
        state.refresh();
        state
    }

    fn path(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Reads what other processes have added.
    pub fn refresh(&mut self) {
        // what can't be read isn't known; tasks are then checked against the store
        let _ = self.catch_up();
    }

    /// Reads what other processes have added; gives how long the file is.
    fn catch_up(&mut self) -> std::io::Result<u64> {
        let path = self.path();
        let Ok(meta) = fs::metadata(&path) else {
            self.reset();
            return Ok(0);
        };
        let inode = (meta.dev(), meta.ino());
        // another file, or one that was cut below what was good: read from the start
        let same = self.file.as_ref().is_some_and(|f| f.1 == inode);
        if !same || meta.len() < self.bytes.len() as u64 {
            self.reset();
            let file = match fs::OpenOptions::new().read(true).write(true).open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => fs::File::open(&path),
                other => other,
            }?;
            let meta = file.metadata()?;
            self.file = Some((file, (meta.dev(), meta.ino())));
        }
        let known = self.bytes.len();
        if meta.len() == known as u64 {
            return Ok(meta.len());
        }
        let Some((file, _)) = &mut self.file else {
            return Ok(meta.len());
        };
        file.seek(SeekFrom::Start(known as u64))?;
        if known == 0 {
            self.bytes
                .reserve_exact(usize::try_from(meta.len()).unwrap_or(0) + 32);
        }
        if let Err(e) = file.read_to_end(&mut self.bytes) {
            self.bytes.truncate(known);
            return Err(e);
        }
        let length = self.bytes.len() as u64;
        self.index(known);
        Ok(length)
    }

    /// Finds the frames from byte `from` on.
    fn index(&mut self, from: usize) {
        let (frames, end) = frames::scan(&self.bytes, from);
        self.bytes.truncate(end);
        for frame in frames {
            match frame.kind {
                Kind::Task => {
                    self.live += frame.range.len();
                    if let Some(old) = self.latest.insert(frame.id, frame) {
                        self.live -= old.range.len();
                    }
                }
                Kind::Files => self.files.push(frame),
            }
        }
    }

    fn reset(&mut self) {
        self.latest.clear();
        self.files.clear();
        self.bytes.clear();
        self.live = 0;
        self.file = None;
    }

    /// The last result of the task `id`.
    pub fn task(&self, id: &str) -> Option<TaskState> {
        let frame = self.latest.get(&frames::id(id))?;
        let state: TaskState = postcard::from_bytes(frame.payload(&self.bytes)?).ok()?;
        (state.id == id).then_some(state)
    }

    /// The last result of the task `id`, as far as `stat` can tell whether it still holds.
    pub fn glance(&self, id: &str) -> Option<Glance<'_>> {
        let frame = self.latest.get(&frames::id(id))?;
        let payload = frame.payload(&self.bytes)?;
        let (glance, _) = postcard::take_from_bytes::<Glance<'_>>(payload).ok()?;
        (glance.id == id).then_some(glance)
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
        self.record_all(std::slice::from_ref(task))
    }

    /// Adds the results of several tasks.
    pub fn record_all(&mut self, tasks: &[TaskState]) -> Result<()> {
        let mut frames = Vec::with_capacity(tasks.len());
        for task in tasks {
            let payload = postcard::to_stdvec(task).context("encoding a task's state")?;
            frames.push((Kind::Task, frames::id(&task.id), payload));
        }
        self.append(&frames)
    }

    /// Adds digests of files.
    pub fn record_files(&mut self, known: &[Known]) -> Result<()> {
        if known.is_empty() {
            return Ok(());
        }
        let payload = postcard::to_stdvec(known).context("encoding digests")?;
        self.append(&[(Kind::Files, 0, payload)])
    }

    /// Forgets the task `id`.
    pub fn forget(&mut self, id: &str) -> Result<()> {
        self.append(&[(Kind::Task, frames::id(id), Vec::new())])
    }

    fn append(&mut self, new: &[(Kind, u64, Vec<u8>)]) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let path = self.path();
        let what = || format!("writing {}", path.display());
        if self.file.is_none() || self.lock.is_none() {
            // whoever removed the state may have removed the lock too
            self.lock = None;
        }
        let name = self.folder.join("state.lock");
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => lock::reusable(&name)?,
        };
        let held = lock::again(&lock, &name)?;
        let done = self.add(new).with_context(what);
        drop(held);
        self.lock = Some(lock);
        done
    }

    fn add(&mut self, new: &[(Kind, u64, Vec<u8>)]) -> Result<()> {
        let encoded = new
            .iter()
            .flat_map(|(kind, id, payload)| frames::encode(*kind, *id, payload));
        let length = self.catch_up()?;
        let path = self.path();
        let known = self.bytes.len();
        if frames::worth_compacting(known, self.live) {
            let mut whole = frames::HEADER.to_vec();
            for old in self.latest.values() {
                if new.iter().any(|n| n.1 == old.id && n.0 == Kind::Task) {
                    continue;
                }
                // what is damaged must not get a new checksum
                if let Some(bytes) = old.payload(&self.bytes) {
                    whole.extend(frames::encode(Kind::Task, old.id, bytes));
                }
            }
            whole.extend(encoded);
            crate::fs::atomic::write(&path, &whole)?;
            self.catch_up()?;
            return Ok(());
        }
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(frames::HEADER);
        }
        self.bytes.extend(encoded);
        let written = self.write(known, length);
        if written.is_err() {
            self.bytes.truncate(known);
        }
        self.index(known);
        written
    }

    /// Writes what is new from byte `known` on.
    fn write(&mut self, known: usize, length: u64) -> Result<()> {
        if self.file.is_none() {
            let file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(self.path())?;
            let meta = file.metadata()?;
            self.file = Some((file, (meta.dev(), meta.ino())));
        }
        let (file, _) = self.file.as_ref().context("not open")?;
        if length > known as u64 {
            // cuts off what a killed process left half-written: nothing behind it would be found
            file.set_len(known as u64)?;
        }
        file.write_all_at(&self.bytes[known..], known as u64)?;
        Ok(())
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
