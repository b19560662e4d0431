//! Writes the archives that the Linux kernel unpacks into its initramfs: cpio in
//! its "newc" form. The same entries give the same bytes: owner and times are 0.
//!
//! The kernel takes several archives, one after the other and compressed or not,
//! as one initramfs, if each begins at a multiple of four bytes. That is how ours
//! is appended to a distribution's own initrd.

use std::io::{self, Write};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
pub struct Archive<W: Write> {
    out: W,
    /// The next entry's number. The kernel links entries with the same one.
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Begins an archive, where `out` is at a multiple of four bytes.
    pub fn new(out: W) -> Self {
        Self { out, inode: 1 }
    }

    /// Adds a folder. `path` has no slash at its begin.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.entry(path, FOLDER | mode, &[])
    }

    /// Adds a file that holds `bytes`. `path` has no slash at its begin.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | mode, bytes)
    }

    /// Ends the archive, and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(TRAILER, 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let too_long =
            |what| io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: {what}"));
        let size = u32::try_from(bytes.len()).map_err(|_| too_long("more than 4 GiB"))?;
        let name = u32::try_from(path.len() + 1).map_err(|_| too_long("a name that long"))?;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // inode, mode, uid, gid, links, mtime, size, device ×2, node's device ×2, name's size, check
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&hex(field));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + path.len() + 1)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len())?;
        self.inode += 1;
        Ok(())
    }

    /// Fills up to the next multiple of four.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

fn hex(field: u32) -> String {
    format!("{field:08X}")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.folder("etc", 0o755).unwrap();
        archive.file("etc/lab", 0o600, b"12345").unwrap();
        archive.file("lab-init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.file("empty", 0o644, b"").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn bytes_are_those_of_the_format() {
        let bytes = archive();
        assert_eq!(bytes.len() % 4, 0);
        let first = "070701\
            00000001000041ED0000000000000000000000020000000000000000\
            0000000000000000000000000000000000000004 00000000etc\0"
            .replace(' ', "");
        assert_eq!(String::from_utf8_lossy(&bytes[..first.len()]), first);
        assert_eq!(bytes, archive(), "two runs differ");
    }

    #[test]
    fn cpio_unpacks_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), archive()).unwrap();
        let shell = Command::new("sh")
            .args(["-c", "cpio --quiet -i < a"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        if String::from_utf8_lossy(&shell.stderr).contains("not found") {
            return; // no cpio on this host; the bytes are compared above
        }
        assert!(shell.status.success(), "{shell:?}");
        let read = |path: &str| std::fs::read(folder.path().join(path)).unwrap();
        let mode = |path: &str| {
            std::fs::metadata(folder.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(read("etc/lab"), b"12345");
        assert_eq!(read("lab-init"), b"#!/bin/sh\n");
        assert_eq!(read("empty"), b"");
        assert_eq!(
            (mode("etc/lab"), mode("lab-init"), mode("empty")),
            (0o600, 0o755, 0o644)
        );
    }
}
