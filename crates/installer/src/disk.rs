//! The disk that is written.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, FileTypeExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Bytes at each end of the disk, and of the image, that hold the partition table and its copy.
pub const HEAD: u64 = 1 << 20;
/// Bytes that are looked at, and left out if they are all zero, at once.
const GRAIN: usize = 64 << 10;

/// A disk, or a file that stands for one.
pub struct Disk {
    file: File,
    path: PathBuf,
    size: u64,
    /// Up to where the disk is known to read as zeros but for what was written through here.
    blank: u64,
}

impl Disk {
    /// Opens the disk at `path`, whose size is `size`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let at = || format!("can't open the disk {}", path.display());
        let mut options = File::options();
        let file = options.read(true).write(true).open(path).with_context(at)?;
        let size = io::Seek::seek(&mut &file, io::SeekFrom::End(0)).with_context(at)?;
        Ok(Self {
            file,
            path: path.into(),
            size,
            blank: 0,
        })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fails if `bytes` don't fit, before any of them is written.
    pub fn require(&self, bytes: u64) -> anyhow::Result<()> {
        if self.size < bytes {
            let (path, size) = (self.path.display(), self.size);
            bail!("{path} has {size} bytes, and the image {bytes}; give the machine a larger disk");
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open disk, for what only the kernel can do with it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is a block device and not a file.
    pub fn is_device(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|meta| meta.file_type().is_block_device())
    }

    /// Makes the disk unbootable: no partition table at its begin, no copy at its end.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        let zeros = vec![0; usize::try_from(HEAD.min(self.size))?];
        let end = self.size - zeros.len() as u64;
        let wiped = self.put(0, &zeros).and_then(|()| self.put(end, &zeros));
        wiped
            .and_then(|()| self.file.sync_all())
            .with_context(|| format!("can't erase the partition table of {}", self.path.display()))
    }

    /// Says that the disk now reads as zeros up to `end`. A few places are looked at, since
    /// a device that lies about this would leave old data in the new system.
    pub fn is_blank_to(&mut self, end: u64) -> anyhow::Result<()> {
        let mut buffer = vec![0; GRAIN];
        let places = 64;
        for i in 0..=places {
            let at = end.saturating_sub(GRAIN as u64) / places * i;
            let length = GRAIN.min(usize::try_from(end - at)?);
            self.file.read_exact_at(&mut buffer[..length], at)?;
            if !is_zero(&buffer[..length]) {
                bail!(
                    "{} says that it was zeroed, and byte {at} and on isn't",
                    self.path.display()
                );
            }
        }
        self.blank = end;
        Ok(())
    }

    /// Writes `bytes` at `offset`, leaving out zeros where there are zeros already.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let mut at = offset;
        let mut pending: Option<(u64, usize)> = None;
        let start = |at: u64| usize::try_from(at - offset);
        for grain in bytes.chunks(GRAIN) {
            let end = at + grain.len() as u64;
            if is_zero(grain) && self.reads_zero(at, grain.len())? {
                if let Some((from, length)) = pending.take() {
                    self.put_checked(from, &bytes[start(from)?..][..length])?;
                }
            } else {
                let (from, length) = pending.unwrap_or((at, 0));
                pending = Some((from, length + grain.len()));
            }
            at = end;
        }
        if let Some((from, length)) = pending {
            self.put_checked(from, &bytes[start(from)?..][..length])?;
        }
        Ok(())
    }

    /// Reads `length` bytes at `offset`.
    pub fn read(&self, offset: u64, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        self.file
            .read_exact_at(&mut buffer, offset)
            .with_context(|| format!("can't read {} at byte {offset}", self.path.display()))?;
        Ok(buffer)
    }

    /// Has everything written reach the device.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("can't write all to {}", self.path.display()))
    }

    /// Reading is cheaper than writing: on a virtual disk it keeps the image's file small.
    fn reads_zero(&self, offset: u64, length: usize) -> anyhow::Result<bool> {
        Ok(offset + length as u64 <= self.blank || is_zero(&self.read(offset, length)?))
    }

    fn put_checked(&self, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.put(offset, bytes)
            .with_context(|| format!("can't write to {} at byte {offset}", self.path.display()))
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
