//! BLAKE3 digests of bytes and files.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use super::Fingerprint;

/// From this size on a file is mapped and hashed by several threads: before that, starting them takes longer.
const MAPPED: u64 = 4 << 20;

/// Up to this size a file is read in one call, to a place that is used again.
const WHOLE: usize = 128 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; WHOLE]);
}

/// Reads until `buffer` is full or the file ends; gives how many bytes that were.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// The content of the file at `path`, which should be `size` bytes long.
pub fn read(path: &Path, size: u64) -> Result<Vec<u8>> {
    let what = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(what)?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0) + 1];
    let read = fill(&mut file, &mut bytes).with_context(what)?;
    bytes.truncate(read);
    Ok(bytes)
}

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
        Ok(Self::of_open(path)?.0)
    }

    /// The same, and the file's fingerprint after it was read.
    pub fn of_open(path: &Path) -> Result<(Self, Fingerprint)> {
        let what = || format!("reading {}", path.display());
        let mut file = File::open(path).with_context(what)?;
        let after = |file: &File| -> Result<Fingerprint> {
            Ok(Fingerprint::of(&file.metadata().with_context(what)?))
        };
        BUFFER.with_borrow_mut(|buffer| {
            let first = file.read(buffer).with_context(what)?;
            let now = after(&file)?;
            // as a rule it is a small file, read by now
            if first as u64 == now.size() && now.is_file() {
                return Ok((Self::of(&buffer[..first]), now));
            }
            let mut hasher = blake3::Hasher::new();
            if now.size() >= MAPPED {
                hasher.update_mmap_rayon(path).with_context(what)?;
            } else {
                hasher.update(&buffer[..first]);
                hasher.update_reader(&file).with_context(what)?;
            }
            Ok((Self(*hasher.finalize().as_bytes()), after(&file)?))
        })
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
