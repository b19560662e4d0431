//! The target's initrd: the distribution's own, with the installer appended.
//!
//! The kernel unpacks one archive after another into the same root
//! (Documentation/filesystems/ramfs-rootfs-initramfs.rst), so nothing of the
//! stock initrd is opened or changed: no hook of its generator is relied on.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use cpio::Archive;
use fs_err as fs;

/// Append the installer to a stock initrd.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The distribution's initrd.
    #[arg(long)]
    stock: PathBuf,
    /// The installer, static, for the target's architecture: `/lab-installer`.
    #[arg(long)]
    installer: PathBuf,
    /// The script that the kernel starts: `/lab-init` (`rdinit=/lab-init`).
    #[arg(long)]
    init: PathBuf,
    /// The initrd to write.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the initrd.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut initrd = fs::read(&args.stock)?;
    anyhow::ensure!(!initrd.is_empty(), "{} is empty", args.stock.display());
    // an archive starts at a multiple of four bytes
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    let mut archive = Archive::new(&mut initrd);
    archive
        .file("lab-init", 0o755, &fs::read(&args.init)?)
        .and_then(|()| archive.file("lab-installer", 0o755, &std::fs::read(&args.installer)?))
        .with_context(|| format!("packing {}", args.installer.display()))?;
    archive.finish()?;
    let folder = args.out.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let mut out = fs::File::create(&args.out)?;
    out.write_all(&initrd)?;
    out.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_initrd_comes_first_and_the_archive_is_aligned() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("stock"), b"stock").unwrap();
        fs::write(path("installer"), b"ELF").unwrap();
        fs::write(path("init"), b"#!/bin/sh\n").unwrap();
        run(&Args {
            stock: path("stock"),
            installer: path("installer"),
            init: path("init"),
            out: path("initrd"),
        })
        .unwrap();
        let initrd = fs::read(path("initrd")).unwrap();
        assert_eq!(&initrd[..8], b"stock\0\0\0");
        assert_eq!(&initrd[8..14], b"070701");
        for name in ["lab-init", "lab-installer", "TRAILER!!!"] {
            assert!(
                initrd.windows(name.len()).any(|w| w == name.as_bytes()),
                "{name}"
            );
        }
    }
}
