//! Results by key and bytes by digest, shared between checkouts.
//!
//! ```text
//! v1/blobs/ab/cdef…    content, read-only
//! v1/records/ab/cdef…  what a key's task made
//! v1/locks/abc            held while a key that begins so is being made
//! v1/tmp/              what is being written
//! ```

pub mod gc;
pub mod place;
pub mod record;
pub mod verify;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fs::lock::{self, Lock};
use crate::fs::tree::{Entry, Node};
use crate::fs::{Digest, Fingerprint, atomic};
pub use record::Record;

/// Another layout gets another folder.
const LAYOUT: &str = "v1";

/// The store's folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `dir`, or `$XDG_CACHE_HOME/hermake`, or `~/.cache/hermake`.
    pub fn new(dir: Option<&Path>) -> Result<Self> {
        let root = match dir {
            Some(dir) => dir.to_path_buf(),
            None => default_folder()?,
        };
        Ok(Self {
            root: root.join(LAYOUT),
        })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn sharded(&self, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(kind).join(&hex[..2]).join(&hex[2..])
    }

    /// Where the content of `digest` is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest)
    }

    /// Where the record of `key` is.
    pub fn record_path(&self, key: &Digest) -> PathBuf {
        self.sharded("records", key)
    }

    /// A name in the store to write to before renaming.
    pub fn tmp(&self) -> Result<PathBuf> {
        let dir = self.root.join("tmp");
        fs::create_dir_all(&dir).with_context(|| {
            format!("creating {}; set cache-dir in hermake.toml", dir.display())
        })?;
        Ok(dir.join(atomic::unique()))
    }

    /// Holds off everyone else who would make `key`.
    pub fn lock(&self, key: &Digest, waiting: impl FnOnce()) -> Result<Lock> {
        // as many files as there are three hexadecimal digits: they need never be removed
        lock::exclusive(&self.root.join("locks").join(&key.hex()[..3]), waiting)
    }

    /// Keeps the content of the file at `from`. With `link`, the file itself becomes the content
    /// (made read-only), else a copy of it.
    pub fn keep(&self, from: &Path, digest: &Digest, link: bool) -> Result<()> {
        let blob = self.blob(digest);
        let size = fs::metadata(from)
            .with_context(|| format!("reading {}", from.display()))?
            .len();
        if fs::metadata(&blob).is_ok_and(|m| m.len() == size)
            && (size >= place::LARGE || self.sound(digest))
        {
            return Ok(());
        }
        let what = || format!("keeping {} in {}", from.display(), self.root.display());
        let tmp = self.tmp()?;
        let copied = if link && fs::hard_link(from, &tmp).is_ok() {
            Ok(())
        } else {
            place::copy(from, &tmp)
        };
        copied
            .and_then(|()| fs::set_permissions(&tmp, fs::Permissions::from_mode(0o444)))
            .with_context(what)?;
        self.settle(&tmp, &blob).with_context(what)?;
        place::trust(self, digest);
        Ok(())
    }

    /// Renames `tmp` to its final name in the store.
    fn settle(&self, tmp: &Path, to: &Path) -> std::io::Result<()> {
        match fs::rename(tmp, to) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
                fs::rename(tmp, to)
            }
            other => other,
        }
    }

    /// True if a small blob's content is what its name says.
    fn sound(&self, digest: &Digest) -> bool {
        Digest::of_file(&self.blob(digest)).is_ok_and(|d| d == *digest)
    }

    /// Keeps all files of a tree at `root`.
    pub fn keep_tree(&self, root: &Path, entries: &[Entry], link: bool) -> Result<()> {
        for entry in entries {
            if let Node::File(digest) = &entry.node {
                let path = if entry.path.is_empty() {
                    root.to_path_buf()
                } else {
                    root.join(entry.path.as_path())
                };
                self.keep(&path, digest, link)?;
            }
        }
        Ok(())
    }

    /// The fingerprint of a blob, if it is there.
    pub fn stat(&self, digest: &Digest) -> Option<Fingerprint> {
        fs::metadata(self.blob(digest))
            .ok()
            .map(|m| Fingerprint::of(&m))
    }
}

/// Where the store is if nothing else is said.
pub fn default_folder() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .filter(|p| p.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("hermake"))
        .context("neither XDG_CACHE_HOME nor HOME is set: set one, or cache-dir in hermake.toml")
}
