//! The digest of a file that is mostly holes.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// What is read, and left out if it is all zeros, at a time.
const CHUNK: u64 = 1 << 20;

/// BLAKE3 over the file's size and all that isn't zero in it, with its place.
/// Where the holes are makes no difference, only what is read does, so that a
/// file system may move them.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut buffer = vec![0; usize::try_from(CHUNK).unwrap_or(1 << 20)];
    let mut place = 0;
    while let Some(data) = next_data(&file, place, size)? {
        let start = data / CHUNK * CHUNK;
        let length = usize::try_from(CHUNK.min(size - start)).unwrap_or(0);
        let chunk = &mut buffer[..length];
        file.read_exact_at(chunk, start)?;
        if chunk.iter().any(|byte| *byte != 0) {
            hasher.update(&start.to_le_bytes()).update(chunk);
        }
        place = start + CHUNK;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Where the next data is at or after `place`; none if only holes follow. A file
/// system that knows no holes has data everywhere.
fn next_data(file: &std::fs::File, place: u64, size: u64) -> io::Result<Option<u64>> {
    if place >= size {
        return Ok(None);
    }
    match rustix::fs::seek(file, SeekFrom::Data(place)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(place)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(write: impl Fn(&std::fs::File)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        write(&file);
        digest(&path).unwrap()
    }

    #[test]
    fn a_hole_and_zeros_are_the_same() {
        let hole = of(|file| {
            file.set_len(5 * CHUNK + 7).unwrap();
            file.write_all_at(b"x", 3 * CHUNK + 1).unwrap();
        });
        let zeros = of(|file| {
            let mut bytes = vec![0; usize::try_from(5 * CHUNK).unwrap() + 7];
            bytes[usize::try_from(3 * CHUNK).unwrap() + 1] = b'x';
            file.write_all_at(&bytes, 0).unwrap();
        });
        assert_eq!(hole, zeros);
    }

    #[test]
    fn a_byte_its_place_and_the_size_make_a_difference() {
        let base = |place: u64, byte: u8, size: u64| {
            of(|file| {
                file.set_len(size).unwrap();
                file.write_all_at(&[byte], place).unwrap();
            })
        };
        let size = 4 * CHUNK;
        let one = base(2 * CHUNK, 1, size);
        assert_eq!(one, base(2 * CHUNK, 1, size));
        assert_ne!(one, base(2 * CHUNK, 2, size));
        assert_ne!(one, base(2 * CHUNK + 1, 1, size));
        assert_ne!(one, base(3 * CHUNK, 1, size));
        assert_ne!(one, base(2 * CHUNK, 1, size + 1));
        assert_ne!(one, base(2 * CHUNK, 0, size));
    }

    #[test]
    fn an_empty_file_and_one_that_is_gone() {
        of(|_| {});
        assert!(digest(Path::new("/nonexistent/file")).is_err());
    }
}
