//! Compression of logs. A log is plain while it grows, so that it can be followed and survives a kill;
//! when its task is done, one that takes more than a block of the disk is compressed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// A log up to this size takes one block, compressed or not.
const BLOCK: u64 = 4096;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A damaged log may claim to be of any size: so much of it is read.
const MOST: u64 = 1 << 30;

/// Compresses the log at `path` if that saves anything; gives where it is now.
pub(super) fn file(path: &Path) -> PathBuf {
    let to = path.with_extension("log.gz");
    let packed = || -> io::Result<bool> {
        let mut from = File::open(path)?;
        if from.metadata()?.len() <= BLOCK {
            return Ok(false);
        }
        let mut encoder = GzEncoder::new(File::create(&to)?, Compression::fast());
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?.flush()?;
        Ok(true)
    };
    match packed() {
        Ok(true) => {
            // a reader finds one or the other, or both for a moment
            let _ = fs::remove_file(path);
            to
        }
        Ok(false) => path.to_path_buf(),
        Err(_) => {
            // no room for it: the plain log is kept
            let _ = fs::remove_file(&to);
            path.to_path_buf()
        }
    }
}

/// The same for bytes.
pub(super) fn bytes(plain: &[u8]) -> Vec<u8> {
    if plain.len() as u64 <= BLOCK {
        return plain.to_vec();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(plain).and_then(|()| encoder.finish()) {
        Ok(packed) => packed,
        Err(_) => plain.to_vec(),
    }
}

/// The text of a log, compressed or not. What is damaged ends it.
pub(super) fn text(raw: &[u8]) -> String {
    if raw.get(..2) != Some(&MAGIC[..]) {
        return String::from_utf8_lossy(raw).into_owned();
    }
    let mut out = Vec::new();
    // what was read before an error counts
    let _ = MultiGzDecoder::new(raw).take(MOST).read_to_end(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_reads_as_it_was() {
        let plain = "a line of a log\n".repeat(1000);
        let packed = bytes(plain.as_bytes());
        assert!(packed.len() < plain.len() / 10);
        assert_eq!(text(&packed), plain);
        assert!(text(&packed[..packed.len() / 2]).len() <= plain.len());
        assert_eq!(bytes(b"short"), b"short");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.log");
        fs::write(&path, &plain).unwrap();
        let now = file(&path);
        assert_eq!(now, dir.path().join("t.log.gz"));
        assert!(!path.exists());
        assert_eq!(text(&fs::read(now).unwrap()), plain);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(0u8..=255, 0..200)) {
            let mut raw = MAGIC.to_vec();
            raw.extend(&tail);
            let _ = text(&raw);
            let _ = text(&tail);
        }
    }
}
