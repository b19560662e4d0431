//! Outputs of needed tasks: a task sees what its key says of them, whoever changes the checkout meanwhile.
//!
//! Two calls with other values of a variable make other outputs at the same place. So what is in the checkout is
//! believed only where it is read: what is copied by its digest, what a task reads in place by `stat` before and after.

use std::fs;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Engine;
use super::bring::entries;
use super::plan::Plan;
use crate::exec::stage::Stage;
use crate::fs::digest::{self, Digest};
use crate::fs::tree::{Entry, Node, Stamped};
use crate::fs::{Fingerprint, RelPath, now_ns};

/// From this size on it is cheaper to wait until a later change must show in a file's times than to read it twice.
const WORTH_WAITING: u64 = 8 << 20;
/// After so long it does.
const SETTLED: Duration = Duration::from_millis(25);

/// An output of a needed task, as it entered the key.
#[derive(Debug)]
pub struct Needed {
    /// The task that made it.
    pub maker: usize,
    /// Where it is in the project.
    pub path: RelPath,
    /// What it is made of.
    pub tree: Vec<Stamped>,
}

/// A file that a task reads where it is.
#[derive(Debug)]
pub(super) struct Watched {
    path: RelPath,
    digest: Digest,
    then: Fingerprint,
    /// Whether any later change must show in the fingerprint.
    settled: bool,
}

impl Engine {
    /// Puts what `plan` names into the stage. With `from_store`, that is where large outputs of needed tasks come
    /// from. Gives those files that the task will read where they are.
    pub(super) fn fill(
        &self,
        plan: &Plan,
        stage: &mut Stage,
        from_store: bool,
    ) -> Result<Vec<Watched>> {
        let mut watched = Vec::new();
        for (i, (path, executable, digest)) in plan.manifest.inputs.iter().enumerate() {
            let then = plan.raw_fps[i];
            if then.size() > stage.copied {
                stage.large(&self.at(path.as_path()), path)?;
                watched.push(Watched {
                    path: path.clone(),
                    digest: *digest,
                    then,
                    settled: !plan.input_fps[i].is_unknown(),
                });
                continue;
            }
            let Some(bytes) = self.content(path, then.size(), digest) else {
                bail!("its input `{path}` changed meanwhile: nothing is recorded, run again");
            };
            stage.copy(path, (&bytes, digest), *executable)?;
        }
        for needed in &plan.needed {
            for stamped in &needed.tree {
                self.fill_one(needed, stamped, stage, from_store, &mut watched)?;
            }
        }
        Ok(watched)
    }

    fn fill_one(
        &self,
        needed: &Needed,
        stamped: &Stamped,
        stage: &mut Stage,
        from_store: bool,
        watched: &mut Vec<Watched>,
    ) -> Result<()> {
        let entry = &stamped.entry;
        let path = entry.path.under(&needed.path);
        let digest = match &entry.node {
            Node::Dir => return stage.folder(&path),
            Node::Symlink(target) => return stage.link(&path, target),
            Node::File(digest) => digest,
        };
        let executable = entry.mode & 0o111 != 0;
        if entry.size <= stage.copied {
            if let Some(bytes) = self.content(&path, entry.size, digest) {
                return stage.copy(&path, (&bytes, digest), executable);
            }
        } else if !from_store && let Some(file) = self.watch(&path, stamped) {
            watched.push(file);
            return stage.large(&self.at(path.as_path()), &path);
        }
        // something else is there by now; the store has what was
        let maker = &self.task(needed.maker).name;
        stage
            .made(&path, digest, executable, |to, mode| {
                let entry = entry.clone();
                self.store.content(digest, &Entry { mode, ..entry }, to)?;
                Ok(fs::symlink_metadata(to)?)
            })
            .with_context(|| {
                format!("`{path}` is not what `{maker}` made of it any more: run again")
            })
    }

    /// What the project's file `path` holds, if that is what `digest` says.
    fn content(&self, path: &RelPath, size: u64, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = digest::read(&self.at(path.as_path()), size).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// The recorded file at `path`, if that is what is there.
    fn watch(&self, path: &RelPath, recorded: &Stamped) -> Option<Watched> {
        let (entry, full) = (&recorded.entry, self.at(path.as_path()));
        let Node::File(digest) = entry.node else {
            return None;
        };
        let then = Fingerprint::of(&fs::symlink_metadata(&full).ok()?);
        let as_recorded = |settled| Watched {
            path: path.clone(),
            digest,
            then,
            settled,
        };
        if then == recorded.fp {
            return Some(as_recorded(true));
        }
        if !then.is_file() || then.size() != entry.size || then.mode() != entry.mode {
            return None;
        }
        if then.size() >= WORTH_WAITING && then.settled(now_ns()).is_unknown() {
            std::thread::sleep(SETTLED);
        }
        let (is, fp) = self.digest(path, then).ok()?;
        (is == digest).then(|| as_recorded(!fp.is_unknown()))
    }

    /// The first of the files that is not any more what it was.
    pub(super) fn changed_since<'w>(&self, watched: &'w [Watched]) -> Option<&'w RelPath> {
        let changed = |file: &&Watched| {
            let meta = fs::metadata(self.at(file.path.as_path()));
            let Ok(now) = meta.map(|m| Fingerprint::of(&m)) else {
                return true;
            };
            if now == file.then && file.settled {
                return false;
            }
            // a file that the store has a link to: others that come and go change its ctime
            !now.is_version_of(&file.then)
                || !self
                    .digest(&file.path, now)
                    .is_ok_and(|(is, _)| is == file.digest)
        };
        watched.iter().find(changed).map(|file| &file.path)
    }

    /// Watches the needed outputs in the checkout, for a task that reads them there. Those that are not as recorded
    /// are put back.
    pub(super) fn watch_needed(&self, plan: &Plan) -> Result<Vec<Watched>> {
        let mut watched = Vec::new();
        for needed in &plan.needed {
            let files = match self.as_recorded(needed) {
                Some(files) => Some(files),
                None if self.put_back(needed.maker)? => self.as_recorded(needed),
                None => None,
            };
            let Some(files) = files else {
                let (path, maker) = (&needed.path, &self.task(needed.maker).name);
                bail!("`{path}` is not what `{maker}` made of it any more: run again");
            };
            watched.extend(files);
        }
        Ok(watched)
    }

    /// The files of a needed output, if all of it is as recorded.
    fn as_recorded(&self, needed: &Needed) -> Option<Vec<Watched>> {
        let mut files = Vec::new();
        for stamped in &needed.tree {
            let path = stamped.entry.path.under(&needed.path);
            let full = self.at(path.as_path());
            match &stamped.entry.node {
                Node::Dir => fs::symlink_metadata(&full)
                    .ok()
                    .filter(fs::Metadata::is_dir)
                    .map(drop),
                Node::Symlink(target) => fs::read_link(&full)
                    .ok()
                    .filter(|is| is == target.as_path())
                    .map(drop),
                Node::File(_) => self.watch(&path, stamped).map(|file| files.push(file)),
            }?;
        }
        Some(files)
    }

    /// Sees to it that the last outputs of the task at `index`, whose inputs are the recorded ones, are in place.
    /// False if the store doesn't have them.
    pub(super) fn put_back(&self, index: usize) -> Result<bool> {
        // the lock keeps other processes away, and not another thread of this one
        let _alone = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.task(index);
        let _held = self.hold(task)?;
        self.state().refresh();
        let Some(prev) = self.state().task(&task.id) else {
            return Ok(false);
        };
        let recorded = entries(&prev.outputs);
        if prev.def == task.def
            && self
                .compare(task, &recorded, prev.boot != self.boot)
                .is_ok()
        {
            return Ok(true);
        }
        let Some(state) = self.one_back(index).filter(|_| task.store) else {
            return Ok(false);
        };
        self.state().record(&state)?;
        Ok(true)
    }
}
