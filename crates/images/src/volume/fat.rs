//! A FAT file system built from a list of files.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use fs_err as fs;

/// FAT can't hold a file of 4 GiB or more (its sizes are 32 bits wide).
const LARGEST_FILE: u64 = u32::MAX as u64;
const MIB: u64 = 1 << 20;

/// Why a volume could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// A volume label is at most 11 bytes of upper-case ASCII.
    #[error("volume label {0:?}: must be 1 to 11 characters of A-Z, 0-9, _ and -")]
    Label(String),
    /// A file is too large for FAT.
    #[error("{path}: {size} bytes, but a file on a FAT volume is less than 4 GiB")]
    TooLarge {
        /// The file on the host.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// A source file could not be read, or the volume could not be written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done to which file.
        what: String,
        /// The system's word on it.
        source: io::Error,
    },
}

/// One file of the volume.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Path within the volume, with `/` between folders.
    pub path: String,
    /// The file on the host.
    pub source: PathBuf,
}

/// A FAT volume to be written.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Volume label, by which the guest finds it.
    pub label: String,
    /// Files to copy into it.
    pub entries: Vec<Entry>,
}

impl Volume {
    /// Size in bytes that holds the files, rounded up to whole MiB.
    pub fn size(&self) -> Result<u64, FatError> {
        let mut total = 0;
        for entry in &self.entries {
            let size = fs::metadata(&entry.source)
                .map_err(|source| io_error("reading", &entry.source, source))?
                .len();
            if size >= LARGEST_FILE {
                return Err(FatError::TooLarge {
                    path: entry.source.clone(),
                    size,
                });
            }
            // a cluster lost at each file's end, at most 32 KiB
            total += size + 64 * 1024;
        }
        // two copies of the FAT: 4 bytes for each cluster of at least 4 KiB
        let with_tables = total + total / 256 + MIB;
        Ok(with_tables.div_ceil(MIB) * MIB)
    }

    /// Writes the volume to `out`, which is replaced in one step when all went well.
    pub fn write(&self, out: &Path) -> Result<(), FatError> {
        let dir = match out.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        fs::create_dir_all(dir).map_err(|source| io_error("creating", dir, source))?;
        let mut temporary = tempfile::Builder::new()
            .prefix(".volume-")
            .tempfile_in(dir)
            .map_err(|source| io_error("creating a file in", dir, source))?;
        let size = self.size()?;
        temporary
            .as_file()
            .set_len(size)
            .map_err(|source| io_error("sizing", out, source))?;
        self.write_into(temporary.as_file_mut(), size)?;
        temporary
            .as_file()
            .sync_all()
            .map_err(|source| io_error("writing", out, source))?;
        temporary
            .persist(out)
            .map_err(|error| io_error("placing", out, error.error))?;
        Ok(())
    }

    /// Writes the volume into `storage`, which is `size` bytes of zeros that
    /// start at the storage's position 0.
    pub fn write_into<S: Read + Write + Seek>(
        &self,
        mut storage: S,
        size: u64,
    ) -> Result<(), FatError> {
        let label = self.padded_label()?;
        let made = |source| FatError::Io {
            what: format!("making the FAT file system {}", self.label),
            source,
        };
        let sectors = u32::try_from(size / 512).map_err(|_| FatError::TooLarge {
            path: PathBuf::from(&self.label),
            size,
        })?;
        storage.seek(SeekFrom::Start(0)).map_err(made)?;
        let mut buffered = fscommon::BufStream::new(&mut storage);
        fatfs::format_volume(
            &mut buffered,
            FormatVolumeOptions::new()
                .total_sectors(sectors)
                .volume_id(self.volume_id())
                .volume_label(label),
        )
        .map_err(made)?;
        let file_system = FileSystem::new(&mut buffered, FsOptions::new()).map_err(made)?;
        for entry in &self.entries {
            copy_in(&file_system, entry)?;
        }
        file_system.unmount().map_err(made)?;
        buffered.flush().map_err(made)
    }

    fn padded_label(&self) -> Result<[u8; 11], FatError> {
        let fits = (1..=11).contains(&self.label.len())
            && self
                .label
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !fits {
            return Err(FatError::Label(self.label.clone()));
        }
        let mut padded = [b' '; 11];
        padded[..self.label.len()].copy_from_slice(self.label.as_bytes());
        Ok(padded)
    }

    /// Serial number of the volume, the same for the same label and names.
    fn volume_id(&self) -> u32 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.label.as_bytes());
        for entry in &self.entries {
            hasher.update(b"\0").update(entry.path.as_bytes());
        }
        let hash = hasher.finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

fn copy_in<T: fatfs::ReadWriteSeek>(
    file_system: &FileSystem<T>,
    entry: &Entry,
) -> Result<(), FatError> {
    let into = |source| FatError::Io {
        what: format!("writing {} into the volume", entry.path),
        source,
    };
    let mut dir = file_system.root_dir();
    let mut parts = entry
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            dir = dir.create_dir(part).map_err(into)?;
            continue;
        }
        let mut source = fs::File::open(&entry.source)
            .map_err(|source| io_error("opening", &entry.source, source))?;
        let mut file = dir.create_file(part).map_err(into)?;
        file.truncate().map_err(into)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = source
                .read(&mut buffer)
                .map_err(|source| io_error("reading", &entry.source, source))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read]).map_err(into)?;
        }
        file.flush().map_err(into)?;
    }
    Ok(())
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> FatError {
    FatError::Io {
        what: format!("{doing} {}", path.display()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(dir: &Path, files: &[(&str, &[u8])]) -> Volume {
        let entries = files
            .iter()
            .enumerate()
            .map(|(n, (path, bytes))| {
                let source = dir.join(format!("source-{n}"));
                fs::write(&source, bytes).unwrap();
                Entry {
                    path: (*path).to_owned(),
                    source,
                }
            })
            .collect();
        Volume {
            label: "CIDATA".to_owned(),
            entries,
        }
    }

    fn read_back(image: &Path, path: &str) -> Vec<u8> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(image)
            .unwrap();
        let file_system = FileSystem::new(file, FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        file_system
            .root_dir()
            .open_file(path)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn holds_the_files_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let long = vec![0xa5; 3_000_001];
        let out = dir.path().join("seed.img");
        volume(
            dir.path(),
            &[
                ("user-data", b"#cloud-config\n"),
                ("EFI/BOOT/BOOTX64.EFI", &long),
            ],
        )
        .write(&out)
        .unwrap();
        assert_eq!(read_back(&out, "user-data"), b"#cloud-config\n");
        assert_eq!(read_back(&out, "EFI/BOOT/BOOTX64.EFI"), long);
    }

    #[test]
    fn carries_the_label_by_which_cloud_init_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("seed.img");
        volume(dir.path(), &[("meta-data", b"x")])
            .write(&out)
            .unwrap();
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&out)
            .unwrap();
        let file_system = FileSystem::new(file, FsOptions::new()).unwrap();
        assert_eq!(file_system.volume_label(), "CIDATA");
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let volume = volume(dir.path(), &[("a", b"1"), ("long name of a file", b"2")]);
        let (one, two) = (dir.path().join("1.img"), dir.path().join("2.img"));
        volume.write(&one).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        volume.write(&two).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let volume = Volume {
            label: "CIDATA".to_owned(),
            entries: vec![Entry {
                path: "user-data".to_owned(),
                source: "nowhere/user-data".into(),
            }],
        };
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("seed.img");
        let error = volume.write(&out).unwrap_err().to_string();
        assert!(error.contains("nowhere/user-data"), "{error}");
        assert!(!out.exists());
    }

    #[test]
    fn a_label_that_does_not_fit_is_refused() {
        for label in ["", "lower", "TWELVE-CHARS"] {
            let volume = Volume {
                label: label.to_owned(),
                entries: vec![],
            };
            let dir = tempfile::tempdir().unwrap();
            assert!(matches!(
                volume.write(&dir.path().join("x.img")),
                Err(FatError::Label(_))
            ));
        }
    }
}
