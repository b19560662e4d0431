//! Earlier texts of inputs, so that `why` can show what changed in them. None of them is needed for anything else.
//!
//! ```text
//! build/.hermake/texts/<digest>
//! ```
//!
//! Of a project's first texts so many are kept; beyond that only those that were edited, since these are the ones
//! that are edited again. Where there is none, what git has of the file is tried.

use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::engine::why::Why;
use crate::fs::{Digest, RelPath};
use crate::manifest::{Change, Group};

/// Longer texts are not kept.
const LONGEST: u64 = 64 << 10;
/// So many are kept of what was never edited.
const FIRST: usize = 1000;
/// So many are kept in all.
const MOST: usize = 2000;

/// The texts of one checkout.
#[derive(Debug)]
pub struct Texts {
    folder: PathBuf,
    /// How many there are; unknown until one is to be kept.
    count: Mutex<Cell<Option<usize>>>,
}

impl Texts {
    /// Those below `hermake`.
    pub fn new(hermake: &Path) -> Self {
        Self {
            folder: hermake.join("texts"),
            count: Mutex::default(),
        }
    }

    /// Keeps the texts of a task's inputs, which ran because of `why`. A failure to do so costs a diff, no more.
    pub fn keep(&self, root: &Path, inputs: &[(RelPath, bool, Digest)], why: &Why) {
        if self.count() < FIRST {
            for (path, _, digest) in inputs {
                self.keep_one(root, path.as_path(), digest);
            }
        } else if let Why::Changed { changes } = why {
            self.keep_changed(root, changes);
        }
    }

    /// Keeps the texts of inputs that changed.
    pub fn keep_changed(&self, root: &Path, changes: &[Change]) {
        self.count();
        for change in changes.iter().filter(|c| c.group == Group::Input) {
            if let (_, Some(now)) = change.digests() {
                self.keep_one(root, Path::new(&change.name), &now);
            }
        }
    }

    fn keep_one(&self, root: &Path, path: &Path, digest: &Digest) {
        let to = self.path(digest);
        if to.exists() {
            return;
        }
        let Some(content) = text(&root.join(path)) else {
            return;
        };
        let kept = fs::File::create(&to).and_then(|mut file| file.write_all(content.as_bytes()));
        if kept.is_ok() {
            self.added();
        }
    }

    fn count(&self) -> usize {
        let held = self.lock();
        held.get().unwrap_or_else(|| {
            let count = if let Ok(list) = fs::read_dir(&self.folder) {
                list.count()
            } else {
                // an input may be for its owner only; where the folder can't be, nothing is kept
                let mut builder = fs::DirBuilder::new();
                let _ = builder.recursive(true).mode(0o700).create(&self.folder);
                0
            };
            held.set(Some(count));
            count
        })
    }

    fn added(&self) {
        let count = self.count() + 1;
        let left = if count > MOST {
            self.thin();
            MOST / 2
        } else {
            count
        };
        self.lock().set(Some(left));
    }

    /// Removes the older half.
    fn thin(&self) {
        let mut all: Vec<_> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        all.sort();
        all.truncate(all.len().saturating_sub(MOST / 2));
        for (_, path) in all {
            let _ = fs::remove_file(path);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cell<Option<usize>>> {
        self.count
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The text of `digest`, which the input `path` had or has.
    pub fn find(&self, root: &Path, path: &str, digest: &Digest) -> Option<String> {
        let right = |text: &String| Digest::of(text.as_bytes()) == *digest;
        text(&self.path(digest))
            .filter(right)
            .or_else(|| text(&root.join(path)).filter(right))
            .or_else(|| committed(root, path).filter(right))
    }
}

/// The file at `path`, if it is a text and not too long.
pub fn text(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    // room for most texts, so that they are read in one call
    let mut bytes = Vec::with_capacity(16 << 10);
    file.take(LONGEST + 1).read_to_end(&mut bytes).ok()?;
    of(bytes)
}

/// These bytes, if they are a text and not too long.
pub fn of(bytes: Vec<u8>) -> Option<String> {
    if bytes.len() as u64 > LONGEST || bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// What the last commit has of a file.
fn committed(root: &Path, path: &str) -> Option<String> {
    let output = Command::new("git")
        .args(["show", &format!("HEAD:./{path}")])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_and_found_and_never_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let texts = Texts::new(dir.path());
        let keep = |text: &str| {
            fs::write(dir.path().join("a"), text).unwrap();
            let digest = Digest::of(text.as_bytes());
            texts.keep(
                dir.path(),
                &[(RelPath::new("a"), false, digest)],
                &Why::NoRecord,
            );
            digest
        };
        let first = keep("first");
        let binary = keep("nul\0");
        keep("other");
        assert_eq!(
            texts.find(dir.path(), "a", &first).as_deref(),
            Some("first")
        );
        assert_eq!(texts.find(dir.path(), "a", &binary), None);
        fs::write(dir.path().join("texts").join(first.hex()), "torn").unwrap();
        assert_eq!(texts.find(dir.path(), "a", &first), None);
        texts.lock().set(Some(FIRST));
        let late = keep("late");
        keep("later");
        assert_eq!(texts.find(dir.path(), "a", &late), None);
        texts.lock().set(Some(MOST));
        texts.added();
        assert_eq!(texts.count(), MOST / 2);
    }
}
