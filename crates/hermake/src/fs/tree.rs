//! What an output is made of: files, directories (empty ones too), symlinks, modes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Digest, Fingerprint, RelPath};

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A regular file with this content.
    File(Digest),
    /// A directory.
    Dir,
    /// A symbolic link with this target.
    Symlink(RelPath),
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the tree's root; empty for the root itself.
    pub path: RelPath,
    /// What it is.
    pub node: Node,
    /// Permission bits (0 for symlinks, which have none of their own).
    pub mode: u32,
    /// Size in bytes of a file.
    pub size: u64,
}

/// An entry with the fingerprint that it had when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stamped {
    /// The entry.
    pub entry: Entry,
    /// Its fingerprint (by `lstat`), or unknown.
    pub fp: Fingerprint,
}

/// Gives the digest of a file (its path and fingerprint are given), from memory or by reading.
pub type Hash<'a> = dyn FnMut(&Path, &Fingerprint) -> Result<(Digest, Fingerprint)> + 'a;

/// Reads the tree at `root`, sorted by path. `hash` may remember digests.
pub fn scan(root: &Path, hash: &mut Hash<'_>) -> Result<Vec<Stamped>> {
    let mut out = Vec::new();
    visit(root, RelPath::default(), hash, &mut out)?;
    Ok(out)
}

fn visit(path: &Path, rel: RelPath, hash: &mut Hash<'_>, out: &mut Vec<Stamped>) -> Result<()> {
    let what = || format!("reading {}", path.display());
    let read_at = super::now_ns();
    let meta = fs::symlink_metadata(path).with_context(what)?;
    let fp = Fingerprint::of(&meta);
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = RelPath::new(fs::read_link(path).with_context(what)?);
        let entry = Entry {
            path: rel,
            node: Node::Symlink(target),
            mode: 0,
            size: 0,
        };
        out.push(Stamped {
            entry,
            fp: fp.settled(read_at),
        });
    } else if kind.is_dir() {
        readable(path, &fp, 0o500)?;
        let entry = Entry {
            path: rel.clone(),
            node: Node::Dir,
            mode: fp.mode(),
            size: 0,
        };
        out.push(Stamped {
            entry,
            fp: fp.settled(read_at),
        });
        let mut names = fs::read_dir(path)
            .and_then(|dir| {
                dir.map(|e| e.map(|e| e.file_name()))
                    .collect::<std::io::Result<Vec<_>>>()
            })
            .with_context(what)?;
        names.sort();
        for name in names {
            visit(&path.join(&name), rel.join(&name), hash, out)?;
        }
    } else if kind.is_file() {
        readable(path, &fp, 0o400)?;
        let (digest, fp) = hash(path, &fp)?;
        let entry = Entry {
            path: rel,
            node: Node::File(digest),
            mode: meta_mode(&meta),
            size: meta.len(),
        };
        out.push(Stamped { entry, fp });
    } else {
        bail!(
            "{} is a socket, pipe or device: only files, directories and symlinks can be outputs",
            path.display()
        );
    }
    Ok(())
}

/// What only root could read is nobody's output.
fn readable(path: &Path, fp: &Fingerprint, needed: u32) -> Result<()> {
    if fp.mode() & needed != needed {
        bail!(
            "{} has mode {:03o}: its owner must be able to read it (chmod u+rX)",
            path.display(),
            fp.mode()
        );
    }
    Ok(())
}

fn meta_mode(meta: &fs::Metadata) -> u32 {
    Fingerprint::of(meta).mode()
}

/// One digest for a whole tree.
pub fn digest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for entry in entries {
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(entry.path.bytes());
        field(&entry.mode.to_le_bytes());
        match &entry.node {
            Node::File(digest) => {
                field(b"file");
                field(&digest.0);
            }
            Node::Dir => field(b"dir"),
            Node::Symlink(target) => {
                field(b"symlink");
                field(target.bytes());
            }
        }
    }
    Digest(*hasher.finalize().as_bytes())
}
