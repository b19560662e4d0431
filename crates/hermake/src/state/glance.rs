//! A task's last result as far as `stat` can tell whether it still holds, read without copying anything.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::TaskState;
use crate::fs::tree::Node;
use crate::fs::{Digest, Fingerprint};

/// The same bytes as a [`TaskState`], whose fields it follows one by one; the last of them is not read.
#[derive(Debug, Deserialize)]
pub struct Glance<'a> {
    /// The task's id.
    pub id: &'a str,
    /// Digest of its definition.
    pub def: [u8; 32],
    #[serde(borrow)]
    _key: Bytes<'a>,
    /// The boot in which the outputs were last read.
    pub boot: u64,
    /// What the key was made from.
    #[serde(borrow)]
    pub manifest: Made<'a>,
    /// Fingerprints of the manifest's inputs, in their order.
    pub input_fps: Vec<Fingerprint>,
    /// Directories that globs looked into.
    #[serde(borrow)]
    pub dirs: Vec<(Bytes<'a>, Fingerprint)>,
    /// Programs.
    #[serde(borrow)]
    pub tools: Vec<Tool<'a>>,
    /// Needed tasks (by id) and the digest of their results.
    #[serde(borrow)]
    pub needs: Vec<(&'a str, Digest)>,
    /// The outputs, in the order of declaration.
    #[serde(borrow)]
    pub outputs: Vec<Vec<Placed<'a>>>,
    /// Digest of all outputs, or the key if there are none.
    pub result: Digest,
}

/// Bytes in place.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// As a path.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.0))
    }
}

/// A manifest: platform and inputs are what is looked at.
#[derive(Debug, Deserialize)]
pub struct Made<'a> {
    /// Operating system and architecture.
    pub platform: &'a str,
    _kind: &'a str,
    #[serde(borrow)]
    _command: Skipped<(&'a str, &'a str)>,
    #[serde(borrow)]
    _env: Skipped<(&'a str, &'a str)>,
    #[serde(borrow)]
    _params: Skipped<(&'a str, &'a str)>,
    #[serde(borrow)]
    _outputs: Skipped<&'a str>,
    #[serde(borrow)]
    _tools: Skipped<(&'a str, Bytes<'a>)>,
    /// Inputs by path.
    #[serde(borrow)]
    pub inputs: Vec<(Bytes<'a>, bool, Bytes<'a>)>,
    #[serde(borrow)]
    _needs: Skipped<(&'a str, Bytes<'a>)>,
}

/// A program.
#[derive(Debug, Deserialize)]
pub struct Tool<'a> {
    _name: &'a str,
    /// Where it was found.
    #[serde(borrow)]
    pub path: Bytes<'a>,
    /// Its fingerprint.
    pub fp: Fingerprint,
    #[serde(borrow)]
    _digest: Bytes<'a>,
}

/// A path of an output.
#[derive(Debug, Deserialize)]
pub struct Placed<'a> {
    #[serde(borrow)]
    entry: Entry<'a>,
    /// Its fingerprint.
    pub fp: Fingerprint,
}

impl Placed<'_> {
    /// Relative to the output's root; empty for the root itself.
    pub fn path(&self) -> &Path {
        self.entry.path.path()
    }
}

#[derive(Debug, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    path: Bytes<'a>,
    #[serde(borrow)]
    _node: Kind<'a>,
    _mode: u32,
    _size: u64,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "there to be read over")]
enum Kind<'a> {
    #[serde(borrow)]
    File(Bytes<'a>),
    Dir,
    #[serde(borrow)]
    Symlink(Bytes<'a>),
}

/// A list that is read and not kept.
#[derive(Debug)]
struct Skipped<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Skipped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
                while seq.next_element::<T>()?.is_some() {}
                Ok(())
            }
        }
        deserializer.deserialize_seq(Each::<T>(PhantomData))?;
        Ok(Self(PhantomData))
    }
}

impl TaskState {
    /// The same, of a state that was read in full.
    pub fn glance(&self) -> Glance<'_> {
        Glance {
            id: &self.id,
            def: self.def,
            _key: Bytes(&self.key.0),
            boot: self.boot,
            manifest: Made {
                platform: &self.manifest.platform,
                _kind: &self.manifest.kind,
                _command: Skipped(PhantomData),
                _env: Skipped(PhantomData),
                _params: Skipped(PhantomData),
                _outputs: Skipped(PhantomData),
                _tools: Skipped(PhantomData),
                inputs: self
                    .manifest
                    .inputs
                    .iter()
                    .map(|(path, executable, digest)| {
                        (Bytes(path.bytes()), *executable, Bytes(&digest.0))
                    })
                    .collect(),
                _needs: Skipped(PhantomData),
            },
            input_fps: self.input_fps.clone(),
            dirs: self
                .dirs
                .iter()
                .map(|d| (Bytes(d.path.bytes()), d.fp))
                .collect(),
            tools: self
                .tools
                .iter()
                .map(|t| Tool {
                    _name: &t.name,
                    path: Bytes(t.path.bytes()),
                    fp: t.fp,
                    _digest: Bytes(&t.digest.0),
                })
                .collect(),
            needs: self
                .needs
                .iter()
                .map(|(id, result)| (id.as_str(), *result))
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|tree| {
                    let placed = tree.iter().map(|s| Placed {
                        entry: Entry {
                            path: Bytes(s.entry.path.bytes()),
                            _node: match &s.entry.node {
                                Node::File(digest) => Kind::File(Bytes(&digest.0)),
                                Node::Dir => Kind::Dir,
                                Node::Symlink(target) => Kind::Symlink(Bytes(target.bytes())),
                            },
                            _mode: s.entry.mode,
                            _size: s.entry.size,
                        },
                        fp: s.fp,
                    });
                    placed.collect()
                })
                .collect(),
            result: self.result,
        }
    }
}
