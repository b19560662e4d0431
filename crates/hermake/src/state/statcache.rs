//! Digests by path, as long as `stat` says the same.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};

use super::{Known, State};
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
}

impl StatCache {
    /// Knows what `state` recorded.
    pub fn new(root: &Path, state: &State) -> Self {
        let mut known = HashMap::new();
        let mut add = |path: RelPath, fp: Fingerprint, digest: Digest| {
            if !fp.is_unknown() {
                known.insert(path, (fp, digest));
            }
        };
        for task in state.tasks() {
            for ((path, _, digest), fp) in task.manifest.inputs.into_iter().zip(task.input_fps) {
                add(path, fp, digest);
            }
            for tool in task.tools {
                add(tool.path, tool.fp, tool.digest);
            }
            for (root, tree) in task.manifest.outputs.iter().zip(task.outputs) {
                for stamped in tree {
                    if let Node::File(digest) = stamped.entry.node {
                        let mut path = RelPath::new(root);
                        if !stamped.entry.path.is_empty() {
                            path = path.join(stamped.entry.path.as_path().as_os_str());
                        }
                        add(path, stamped.fp, digest);
                    }
                }
            }
        }
        for file in state.files() {
            add(file.path, file.fp, file.digest);
        }
        Self {
            root: root.to_path_buf(),
            known: Mutex::new(known),
            fresh: Mutex::default(),
        }
    }

    /// The digest of the file `path` (relative to the root, or absolute), whose fingerprint is `fp`,
    /// and the fingerprint to remember with it.
    pub fn digest(&self, path: &RelPath, fp: Fingerprint) -> Result<(Digest, Fingerprint)> {
        if let Some((then, digest)) = lock(&self.known).get(path)
            && *then == fp
        {
            return Ok((*digest, fp));
        }
        let full = self.root.join(path.as_path());
        let read_at = now_ns();
        let digest = Digest::of_file(&full)?;
        let after = fs::metadata(&full)
            .map(|m| Fingerprint::of(&m))
            .with_context(|| format!("reading {path}"))?;
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
