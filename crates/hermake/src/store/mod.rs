//! Results by key and bytes by digest, shared between checkouts.
//!
//! ```text
//! v2/pack-…, v2/index  records and small contents: see `pack`
//! v2/blobs/ab/cdef…    larger contents, read-only
//! v2/locks             one byte per key, locked while it is being made
//! v2/tmp/              what is being written
//! ```

pub mod gc;
mod pack;
pub mod place;
pub mod record;
pub mod verify;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fs::lock::{Many, One};
use crate::fs::tree::{Entry, Node};
use crate::fs::{Digest, atomic};
use pack::{Kind, Pack};
pub use record::Record;

/// Another layout gets another folder.
const LAYOUT: &str = "v2";
/// Folders of layouts before.
const OLDER: &[&str] = &["v1"];
/// Content below this size is in the pack, larger ones have files of their own.
pub const PACKED: u64 = 128 << 10;

/// So many bytes of small content are held in memory at most.
pub const AT_ONCE: usize = 16 << 20;

/// Content by digest, on its way to the store.
pub type Small = Vec<(Digest, Vec<u8>)>;

/// The store's folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    locks: Many,
    pack: Pack,
}

impl Store {
    /// The store at `dir`, or `$XDG_CACHE_HOME/hermake`, or `~/.cache/hermake`.
    pub fn new(dir: Option<&Path>) -> Result<Self> {
        let root = match dir {
            Some(dir) => dir.to_path_buf(),
            None => default_folder()?,
        };
        let root = root.join(LAYOUT);
        Ok(Self {
            locks: Many::new(root.join("locks")),
            pack: Pack::new(&root),
            root,
        })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the content of `digest` is, if it has a file of its own.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(&hex[..2]).join(&hex[2..])
    }

    /// A name in the store to write to before renaming.
    pub fn tmp(&self) -> Result<PathBuf> {
        let dir = self.root.join("tmp");
        fs::create_dir_all(&dir).with_context(|| {
            format!("creating {}; set cache-dir in hermake.toml", dir.display())
        })?;
        Ok(dir.join(atomic::unique()))
    }

    /// An error if nothing can be kept in it.
    pub fn ready(&self) -> Result<()> {
        self.locks.ready()
    }

    /// Holds off everyone else who would make `key`.
    pub fn lock(&self, key: &Digest, waiting: impl FnOnce()) -> Result<One<'_>> {
        self.locks.take(key, waiting)
    }

    /// Keeps the content of the large file at `from`. With `link`, the file itself becomes the content
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
        self.keep_large(root, entries, link)?;
        for entry in entries.iter().filter(|e| e.size < PACKED) {
            if let Node::File(digest) = &entry.node {
                let bytes = crate::fs::digest::read(&entry.path.below(root), entry.size)?;
                self.keep_small(&[(*digest, bytes)])?;
            }
        }
        Ok(())
    }

    /// Keeps those files of a tree at `root` that don't go to the pack.
    pub fn keep_large(&self, root: &Path, entries: &[Entry], link: bool) -> Result<()> {
        for entry in entries.iter().filter(|e| e.size >= PACKED) {
            if let Node::File(digest) = &entry.node {
                self.keep(&entry.path.below(root), digest, link)?;
            }
        }
        Ok(())
    }

    /// Keeps small contents.
    pub fn keep_small(&self, small: &[(Digest, Vec<u8>)]) -> Result<()> {
        let pieces = self.missing(small);
        if pieces.is_empty() {
            return Ok(());
        }
        self.pack.add(&pieces)
    }

    /// Those of `small` that are not in the pack as they should be.
    fn missing<'a>(&self, small: &'a [(Digest, Vec<u8>)]) -> Vec<(pack::Name, &'a [u8])> {
        let mut pieces: Vec<(pack::Name, &[u8])> = Vec::new();
        for (digest, bytes) in small {
            let name = (Kind::Blob, *digest);
            let there = self.pack.has(name) && self.pack.get(name).as_ref() == Some(bytes);
            if !there && !pieces.iter().any(|p| p.0 == name) {
                pieces.push((name, bytes));
            }
        }
        pieces
    }

    /// The content of `digest` from the pack, if it is there and whole.
    pub fn small(&self, digest: &Digest) -> Result<Vec<u8>, place::Damaged> {
        let name = (Kind::Blob, *digest);
        let damaged = |how| place::Damaged {
            digest: *digest,
            how,
        };
        let Some(bytes) = self.pack.get(name) else {
            return Err(damaged("is gone"));
        };
        if Digest::of(&bytes) != *digest {
            return Err(damaged("is damaged"));
        }
        Ok(bytes)
    }

    /// Writes down what was used, for [`gc`].
    pub fn note_used(&self) {
        // an older time only makes it go sooner
        let _ = self.pack.note_used();
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
        .with_context(|| {
            let cache = match set("XDG_CACHE_HOME") {
                Some(path) => format!("XDG_CACHE_HOME is no whole path (`{}`)", path.display()),
                None => "XDG_CACHE_HOME is not set".to_owned(),
            };
            format!("{cache}, and HOME is not set: set one, or cache-dir in hermake.toml")
        })
}
