//! Putting content from the store where a task's outputs belong, never without checking it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::pack::Kind;
use super::{PACKED, Store};
use crate::fs::tree::{Entry, Node};
use crate::fs::{Digest, atomic};

/// From this size on content is cloned or linked rather than read and written.
pub const LARGE: u64 = 8 << 20;

/// Content that is missing or not what its name says. Whoever meets it makes it again.
#[derive(Debug)]
pub struct Damaged {
    /// Which.
    pub digest: Digest,
    /// `is gone` or `is damaged`.
    pub how: &'static str,
}

impl std::error::Error for Damaged {}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the stored content {} {}", self.digest.short(), self.how)
    }
}

/// Copies a file: a clone where the file system can, else its bytes.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if fs::metadata(from)?.len() >= LARGE && reflink_copy::reflink(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(|_| ())
}

impl Store {
    /// Makes the tree `entries` at `to`, replacing what is there. `tmp` is a free path on the same file system.
    pub fn place(&self, entries: &[Entry], to: &Path, tmp: &Path, link: bool) -> Result<()> {
        let built = self.build(entries, tmp, link).and_then(|()| swap(tmp, to));
        if built.is_err() {
            // best effort: the error itself matters more
            let _ = atomic::remove(tmp);
        }
        built
    }

    fn build(&self, entries: &[Entry], root: &Path, link: bool) -> Result<()> {
        let at = |entry: &Entry| -> PathBuf {
            if entry.path.is_empty() {
                root.to_path_buf()
            } else {
                root.join(entry.path.as_path())
            }
        };
        // a small file's parents are made when they turn out to be missing
        let small = |e: &Entry| matches!(e.node, Node::File(_)) && e.size < LARGE;
        if !entries.first().is_some_and(small) {
            atomic::have_parent(root)?;
        }
        for entry in entries {
            let path = at(entry);
            let what = || format!("restoring {}", path.display());
            match &entry.node {
                Node::Dir => fs::create_dir(&path).with_context(what)?,
                Node::Symlink(target) => symlink(target.as_path(), &path).with_context(what)?,
                Node::File(digest) => self.file(digest, entry, &path, link)?,
            }
        }
        // a folder may be read-only, so modes come after the content, innermost first
        for entry in entries.iter().rev().filter(|e| e.node == Node::Dir) {
            let path = at(entry);
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))
                .with_context(|| format!("restoring {}", path.display()))?;
        }
        Ok(())
    }

    fn file(&self, digest: &Digest, entry: &Entry, path: &Path, link: bool) -> Result<()> {
        let blob = self.blob(digest);
        let what = || format!("restoring {}", path.display());
        if entry.size < PACKED {
            let bytes = self.small(digest)?;
            return atomic::create(path, &bytes, entry.mode)
                .map(drop)
                .with_context(what);
        }
        if entry.size < LARGE {
            let bytes = fs::read(&blob).map_err(|_| Damaged {
                digest: *digest,
                how: "is gone",
            })?;
            if Digest::of(&bytes) != *digest {
                return Err(Damaged {
                    digest: *digest,
                    how: "is damaged",
                }
                .into());
            }
            return atomic::create(path, &bytes, entry.mode)
                .map(drop)
                .with_context(what);
        }
        let Ok(meta) = fs::metadata(&blob) else {
            return Err(Damaged {
                digest: *digest,
                how: "is gone",
            }
            .into());
        };
        let whole = meta.len() == entry.size;
        if !whole || !(trusted(self, digest, &meta) || self.sound(digest)) {
            return Err(Damaged {
                digest: *digest,
                how: "is damaged",
            }
            .into());
        }
        if link && now(&blob).is_ok() {
            trust(self, digest);
            if fs::hard_link(&blob, path).is_ok() {
                return Ok(());
            }
        }
        copy(&blob, path).with_context(what)?;
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode)).with_context(what)
    }

    /// Makes the file `to`, which must not be there, of the content of `digest`.
    pub fn content(&self, digest: &Digest, entry: &Entry, to: &Path) -> Result<()> {
        self.file(digest, entry, to, false)
    }

    /// Forgets content that is not what its name says.
    pub fn drop_blob(&self, digest: &Digest) {
        self.pack.forget((Kind::Blob, *digest));
        // nobody reads it any more: what can't be removed is replaced when it is made again
        let _ = fs::remove_file(self.blob(digest));
    }
}

/// Puts `tmp` in the place of `to`, whatever is there.
pub fn swap(tmp: &Path, to: &Path) -> Result<()> {
    let what = || format!("placing {}", to.display());
    match moved(tmp, to) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            atomic::create_parent(to)?;
        }
        // rename can't replace a folder, but for an empty one: the old one is moved away first
        Err(_) => {}
    }
    if fs::symlink_metadata(to).is_err() {
        return moved(tmp, to).with_context(what);
    }
    let away = tmp.with_extension("old");
    moved(to, &away).with_context(what)?;
    moved(tmp, to).with_context(what)?;
    atomic::remove(&away)
}

/// Gives a blob the time of now before it is linked to: as an output it is new, and whoever compares times (Make's
/// own rules) must see that. Elsewhere where it is linked to it looks new too, and costs a look. By the kernel's clock,
/// which those of other files are by.
fn now(blob: &Path) -> std::io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(utimensat(CWD, blob, &times, AtFlags::empty())?)
}

/// Renames `from`. To give a folder another parent is to write to it: one that is read-only is made writable for that.
fn moved(from: &Path, to: &Path) -> std::io::Result<()> {
    let denied = match fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => e,
        other => return other,
    };
    let meta = fs::symlink_metadata(from)?;
    if !meta.is_dir() || meta.permissions().mode() & 0o200 != 0 {
        return Err(denied);
    }
    let mode = meta.permissions().mode();
    fs::set_permissions(from, fs::Permissions::from_mode(mode | 0o200))?;
    let done = fs::rename(from, to);
    let there = if done.is_ok() { to } else { from };
    fs::set_permissions(there, meta.permissions())?;
    done
}

/// Notes that a large blob was just seen to be whole, so that the next use needn't read it.
pub(super) fn trust(store: &Store, digest: &Digest) {
    if let Ok(meta) = fs::metadata(store.blob(digest))
        && meta.len() >= LARGE
    {
        // without the note the content is read again, no more
        let _ = atomic::write(&note(store, digest), text(&meta).as_bytes());
    }
}

fn trusted(store: &Store, digest: &Digest, meta: &fs::Metadata) -> bool {
    fs::read_to_string(note(store, digest)).is_ok_and(|then| then == text(meta))
}

fn note(store: &Store, digest: &Digest) -> PathBuf {
    store.root.join("seen").join(digest.hex())
}

/// Not ctime: each link to the blob that is made or removed changes it. The boot too: after a power cut a file may have
/// its size and times, and none of its data.
fn text(meta: &fs::Metadata) -> String {
    format!(
        "{} {} {} {} {}",
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        crate::state::boot()
    )
}
