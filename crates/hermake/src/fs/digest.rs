//! BLAKE3 digests of bytes and files.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// From this size on a file is mapped and hashed by several threads.
const MAPPED: u64 = 1 << 20;

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of the content of the file at `path`.
    pub fn of_file(path: &Path) -> Result<Self> {
        let what = || format!("reading {}", path.display());
        let mut file = File::open(path).with_context(what)?;
        let size = file.metadata().with_context(what)?.len();
        if size >= MAPPED {
            let mut hasher = blake3::Hasher::new();
            hasher.update_mmap_rayon(path).with_context(what)?;
            return Ok(Self(*hasher.finalize().as_bytes()));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes).with_context(what)?;
        Ok(Self::of(&bytes))
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        blake3::Hash::from_hex(hex)
            .ok()
            .map(|h| Self(*h.as_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
