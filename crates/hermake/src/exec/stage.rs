//! A task's own folder: declared inputs, room for outputs, private HOME and TMPDIR.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::config::Output;
use crate::fs::{Digest, Fingerprint, RelPath, atomic, lock};

/// Up to this size inputs are copied, as a rule; larger ones are mounted, or linked to where that can't be.
pub const COPIED: u64 = 1 << 20;

/// Folders of a stage: what the task sees as the project, its HOME, its TMPDIR.
const PARTS: [&str; 3] = ["root", "home", "tmp"];

/// What a task must not do in its stage.
#[derive(Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It wrote this, which is neither input nor output.
    Wrote(RelPath),
    /// It wrote to this input, or put something else there.
    Changed(RelPath),
    /// It removed this input.
    Removed(RelPath),
}

/// What a stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A task sees nothing else; large inputs are mounted.
    Mounted,
    /// A task runs there; large inputs are linked to.
    Linked,
    /// Only outputs are put there before they are placed; empty folders may stay.
    Outputs,
}

/// Stages of this process: what a task is done with is emptied, and the next one takes it.
#[derive(Debug)]
pub struct Pool {
    hermake: PathBuf,
    free: Mutex<Vec<Stage>>,
}

impl Pool {
    /// With stages below `hermake` (`build/.hermake`).
    pub fn new(hermake: PathBuf) -> Self {
        let free = Mutex::default();
        Self { hermake, free }
    }

    /// An empty stage.
    pub fn take(&self, how: Use) -> Result<Taken<'_>> {
        let mut free = self.free();
        let known = free.iter().position(|s| s.how == how);
        let mut stage = if let Some(at) = known {
            free.swap_remove(at)
        } else {
            drop(free);
            Stage::new(&self.hermake, how)?
        };
        stage.clean = false;
        Ok(Taken {
            pool: self,
            stage: Some(stage),
        })
    }

    fn free(&self) -> MutexGuard<'_, Vec<Stage>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage on loan.
#[derive(Debug)]
pub struct Taken<'p> {
    pool: &'p Pool,
    stage: Option<Stage>,
}

impl Deref for Taken<'_> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage.as_ref().expect("only dropping takes it away")
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Stage {
        self.stage.as_mut().expect("only dropping takes it away")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(mut stage) = self.stage.take()
            && stage.reset()
        {
            stage.clean = true;
            self.pool.free().push(stage);
        }
    }
}

/// Emptied when it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// The whole folder.
    pub dir: PathBuf,
    /// What was put there; of copies with what `stat` says of them, and their content.
    staged: BTreeMap<RelPath, Option<(Fingerprint, Digest)>>,
    /// Folders that are there.
    folders: BTreeSet<PathBuf>,
    /// Inputs to mount: where they are, and where the task sees them.
    pub large: Vec<(PathBuf, RelPath)>,
    /// Up to this size inputs are copied.
    pub copied: u64,
    how: Use,
    lock: lock::Lock,
    /// Whether nothing was put there since it was last emptied, but for folders.
    clean: bool,
    /// HOME and TMPDIR as they were when they were last seen to be empty.
    quiet: [Fingerprint; 2],
}

impl Stage {
    /// An empty one below `hermake` (`build/.hermake`).
    ///
    /// Stages are used again, since making and removing folders is what costs most of a short task;
    /// the first that nobody holds is taken.
    pub fn new(hermake: &Path, how: Use) -> Result<Self> {
        atomic::usual_umask();
        let stages = hermake.join(if how == Use::Outputs {
            "outputs"
        } else {
            "stage"
        });
        let mut taken = None;
        for number in 0.. {
            let dir = stages.join(number.to_string());
            if let Some(held) = lock::try_exclusive(&dir.join("lock"))? {
                taken = Some((dir, held));
                break;
            }
        }
        let (dir, held) = taken.context("no stage is free")?;
        let what = || format!("creating {}", dir.display());
        if !dir.join("tmp").is_dir() {
            for sub in PARTS {
                fs::create_dir_all(dir.join(sub)).with_context(what)?;
            }
        }
        if held.size() > 0 {
            empty(&dir)?;
        }
        held.mark(true);
        sweep(&stages, &dir);
        Ok(Self {
            dir,
            staged: BTreeMap::new(),
            folders: BTreeSet::new(),
            large: Vec::new(),
            copied: COPIED,
            how,
            lock: held,
            clean: false,
            quiet: Default::default(),
        })
    }

    /// Makes it as new for the next task of this process; false if that can't be.
    fn reset(&mut self) -> bool {
        self.staged.clear();
        self.folders.clear();
        self.large.clear();
        // where only outputs are put, those of the next task are removed before it starts
        let root = self.how == Use::Outputs || clear(&self.dir, &PARTS[..1]);
        root && PARTS[1..].iter().zip(&mut self.quiet).all(|(part, quiet)| {
            let dir = self.dir.join(part);
            let stamp = |read_at| {
                let meta = fs::symlink_metadata(&dir).ok()?;
                Some(Fingerprint::of(&meta).settled(read_at))
            };
            let now = crate::fs::now_ns();
            // names come and go only with a new time; most tasks use neither
            if !quiet.is_unknown() && stamp(now) == Some(*quiet) {
                return true;
            }
            let empty = clear(&self.dir, &[part]);
            *quiet = stamp(now).unwrap_or_default();
            empty
        })
    }

    /// What the task sees as the project's root.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Where the task sees `path`, with all folders above it.
    fn place(&mut self, path: &RelPath) -> Result<PathBuf> {
        self.staged.insert(path.clone(), None);
        let to = self.root().join(path.as_path());
        if let Some(above) = path.as_path().parent()
            && !self.folders.contains(above)
        {
            atomic::create_parent(&to)?;
            self.folders.insert(above.to_path_buf());
        }
        Ok(to)
    }

    /// Makes the folder `path`.
    pub fn folder(&mut self, path: &RelPath) -> Result<()> {
        let to = self.place(path)?;
        fs::create_dir_all(&to).with_context(|| format!("staging {path}"))?;
        self.folders.insert(path.to_path_buf());
        Ok(())
    }

    /// Makes the symlink `path`.
    pub fn link(&mut self, path: &RelPath, target: &RelPath) -> Result<()> {
        let to = self.place(path)?;
        symlink(target.as_path(), to).with_context(|| format!("staging {path}"))
    }

    /// Makes the file `path`, which holds `bytes`.
    pub fn copy(
        &mut self,
        path: &RelPath,
        (bytes, digest): (&[u8], &Digest),
        executable: bool,
    ) -> Result<()> {
        self.made(path, digest, executable, |to, mode| {
            Ok(atomic::create(to, bytes, mode)?.metadata()?)
        })
    }

    /// Lets `make` create the file `path` with these permissions, and say what it is.
    /// Its content is that of `digest`.
    pub fn made(
        &mut self,
        path: &RelPath,
        digest: &Digest,
        executable: bool,
        make: impl FnOnce(&Path, u32) -> Result<fs::Metadata>,
    ) -> Result<()> {
        let to = self.place(path)?;
        let mode = if executable { 0o555 } else { 0o444 };
        let meta = make(&to, mode).with_context(|| format!("staging {path}"))?;
        let copy = (Fingerprint::of(&meta), *digest);
        self.staged.insert(path.clone(), Some(copy));
        Ok(())
    }

    /// Shows the task the file `from` as `path`, where it is.
    pub fn large(&mut self, from: &Path, path: &RelPath) -> Result<()> {
        let what = || format!("staging {path}");
        let to = self.place(path)?;
        let from = fs::canonicalize(from).with_context(what)?;
        if self.how == Use::Mounted {
            self.large.push((from, path.clone()));
            return Ok(());
        }
        symlink(from, to).with_context(what)
    }

    /// Makes the folders that outputs go to.
    pub fn room_for(&self, outputs: &[Output]) -> Result<()> {
        for output in outputs {
            let path = self.root().join(&output.path);
            atomic::have_parent(&path)?;
            if self.how == Use::Outputs {
                // folders of another task's failure may be there
                atomic::remove(&path)?;
            }
            if output.dir {
                fs::create_dir_all(&path)
                    .with_context(|| format!("creating {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// The first thing that the task did to what is not below an output.
    pub fn misdeed(&self, outputs: &[Output]) -> Result<Option<Misdeed>> {
        let wrote = self.walk(&RelPath::default(), outputs)?;
        Ok(wrote.map(Misdeed::Wrote).or_else(|| self.changed()))
    }

    /// The first copy of an input that doesn't hold any more what was put there.
    fn changed(&self) -> Option<Misdeed> {
        let root = self.root();
        let copies = self
            .staged
            .iter()
            .filter_map(|(p, c)| Some((p, c.as_ref()?)));
        copies.into_iter().find_map(|(path, (then, digest))| {
            let full = root.join(path.as_path());
            let Ok(meta) = fs::symlink_metadata(&full) else {
                return Some(Misdeed::Removed(path.clone()));
            };
            // one that was only touched is as good
            let same = Fingerprint::of(&meta).is_version_of(then)
                || meta.is_file() && Digest::of_file(&full).is_ok_and(|is| is == *digest);
            (!same).then(|| Misdeed::Changed(path.clone()))
        })
    }

    /// The first path at or below `dir` that is neither input nor output, nor a folder of one.
    fn walk(&self, dir: &RelPath, outputs: &[Output]) -> Result<Option<RelPath>> {
        let full = self.root().join(dir.as_path());
        let what = || format!("listing {}", full.display());
        for item in fs::read_dir(&full).with_context(what)? {
            let item = item.with_context(what)?;
            let path = dir.join(&item.file_name());
            if outputs.iter().any(|o| o.path.as_bytes() == path.bytes()) {
                continue;
            }
            if item.file_type().with_context(what)?.is_dir() {
                if let Some(found) = self.walk(&path, outputs)? {
                    return Ok(Some(found));
                }
                if !self.is_folder(&path, outputs) {
                    return Ok(Some(path));
                }
            } else if !self.staged.contains_key(&path) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// True if `path` was made for an input or an output.
    fn is_folder(&self, path: &RelPath, outputs: &[Output]) -> bool {
        let below = path.join(OsStr::new(""));
        let is_below = |other: &[u8]| other.starts_with(below.bytes());
        self.staged.contains_key(path)
            || outputs.iter().any(|o| is_below(o.path.as_bytes()))
            || self
                .staged
                .range(&below..)
                .next()
                .is_some_and(|(next, _)| is_below(next.bytes()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let gone = match self.how {
            Use::Outputs => {
                prune(&self.dir.join("root")) && (self.clean || clear(&self.dir, &PARTS[1..]))
            }
            _ => self.clean || clear(&self.dir, &PARTS),
        };
        if gone {
            self.lock.mark(false);
        }
    }
}

/// Ends what still runs in a stage whose process is gone (bubblewrap may be caught before it has asked to die
/// with its parent), and gives it new folders: what is just about to die still has the old ones.
fn empty(dir: &Path) -> Result<()> {
    super::stray::end_called_with(dir);
    for part in PARTS {
        let (there, old) = (dir.join(part), dir.join(format!("old-{part}")));
        atomic::remove(&old)?;
        match fs::rename(&there, &old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("emptying {}", dir.display()));
            }
            _ => {}
        }
        fs::create_dir_all(&there).with_context(|| format!("creating {}", there.display()))?;
        atomic::remove(&old)?;
    }
    Ok(())
}

/// Removes all but folders; true if they are all that is left. Removing those would take longer than the rest.
fn prune(dir: &Path) -> bool {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .all(|item| {
            let path = item.path();
            if item.file_type().is_ok_and(|t| t.is_dir()) {
                prune(&path)
            } else {
                fs::remove_file(path).is_ok()
            }
        })
}

/// Removes what tasks left in a stage; true if all is gone.
fn clear(dir: &Path, parts: &[&str]) -> bool {
    let inside = |sub| fs::read_dir(dir.join(sub)).into_iter().flatten().flatten();
    // what stays is found by the next one, since the mark stays too
    parts
        .iter()
        .flat_map(inside)
        .all(|item| atomic::remove(&item.path()).is_ok())
}

/// Empties stages that are marked as used and that nobody holds.
fn sweep(stages: &Path, own: &Path) {
    for item in fs::read_dir(stages).into_iter().flatten().flatten() {
        let dir = item.path();
        let file = dir.join("lock");
        if dir == own || fs::metadata(&file).map_or(0, |m| m.len()) == 0 {
            continue;
        }
        if let Ok(Some(held)) = lock::try_exclusive(&file) {
            held.mark(empty(&dir).is_err());
        }
    }
}
