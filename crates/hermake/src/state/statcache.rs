//! Digests by path, as long as `stat` says the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use super::{Known, State, TaskState};
use crate::fs::tree::Node;
use crate::fs::{Digest, Fingerprint, RelPath, now_ns};

/// From this size on a digest is worth recording by itself.
const WORTH_RECORDING: u64 = 64 << 10;

/// Shared by the threads of a process.
#[derive(Debug, Default)]
pub struct StatCache {
    root: PathBuf,
    known: Mutex<HashMap<RelPath, (Fingerprint, Digest)>>,
    fresh: Mutex<Vec<Known>>,
    whole: AtomicBool,
}

impl StatCache {
    /// Knows nothing yet. Paths are relative to `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            ..Self::default()
        }
    }

    /// Learns the files of one task: as a rule these are the ones that will be asked for.
    pub fn learn(&self, task: TaskState) {
        let mut known = lock(&self.known);
        let mut add = |path: RelPath, fp: Fingerprint, digest: Digest| {
            if !fp.is_unknown() {
                known.insert(path, (fp, digest));
            }
        };
        for ((path, _, digest), fp) in task.manifest.inputs.into_iter().zip(task.input_fps) {
            add(path, fp, digest);
        }
        for tool in task.tools {
            add(tool.path, tool.fp, tool.digest);
        }
        for (root, tree) in task.manifest.outputs.iter().zip(task.outputs) {
            for stamped in tree {
                if let Node::File(digest) = stamped.entry.node {
                    let mut path = RelPath::new(root.trim_end_matches('/'));
                    if !stamped.entry.path.is_empty() {
                        path = path.join(stamped.entry.path.as_path().as_os_str());
                    }
                    add(path, stamped.fp, digest);
                }
            }
        }
    }

    /// True if the digest of `path` is not known and worth looking for in all that the state recorded,
    /// which is to be done once.
    pub fn wants_all(&self, path: &RelPath, fp: Fingerprint) -> bool {
        fp.size() >= WORTH_RECORDING
            && self.known(path, fp).is_none()
            && !self.whole.swap(true, Ordering::Relaxed)
    }

    /// Learns all that `state` recorded.
    pub fn learn_all(&self, state: &State) {
        for task in state.tasks() {
            self.learn(task);
        }
        let mut known = lock(&self.known);
        for file in state.files() {
            known.insert(file.path, (file.fp, file.digest));
        }
    }

    fn known(&self, path: &RelPath, fp: Fingerprint) -> Option<Digest> {
        let known = lock(&self.known);
        let (then, digest) = known.get(path)?;
        (*then == fp && !fp.is_unknown()).then_some(*digest)
    }

    /// The digest of the file `path` (relative to the root, or absolute), whose fingerprint is `fp`,
    /// and the fingerprint to remember with it.
    pub fn digest(&self, path: &RelPath, fp: Fingerprint) -> Result<(Digest, Fingerprint)> {
        if let Some(digest) = self.known(path, fp) {
            return Ok((digest, fp));
        }
        let full = self.root.join(path.as_path());
        let read_at = now_ns();
        let (digest, after) = Digest::of_open(&full)?;
        anyhow::ensure!(after == fp, "{path} changed while it was read; run again");
        let stamp = fp.settled(read_at);
        if !stamp.is_unknown() {
            lock(&self.known).insert(path.clone(), (stamp, digest));
            if stamp.size() >= WORTH_RECORDING {
                lock(&self.fresh).push(Known {
                    path: path.clone(),
                    fp: stamp,
                    digest,
                });
            }
        }
        Ok((digest, stamp))
    }

    /// Digests of large files that were worked out since the last call.
    pub fn take_fresh(&self) -> Vec<Known> {
        std::mem::take(&mut *lock(&self.fresh))
    }
}

/// A poisoned lock's content is as good: no operation leaves it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
