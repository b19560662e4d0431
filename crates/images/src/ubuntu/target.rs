//! `lab-image ubuntu-target`: the cloud image as the installer wants it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::compress;

/// Turn a cloud image (qcow2) into a raw disk, compressed by zstd.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// QEMU's program for images.
    #[arg(long, value_name = "FILE", default_value = "qemu-img")]
    qemu_img: PathBuf,
}

/// Converts, and prints the size of the raw disk in bytes.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let size = convert(&args.image, &args.out, &args.qemu_img)?;
    println!("{size}");
    Ok(())
}

/// Writes `image` to `out` as a raw disk compressed by zstd; gives its size.
pub fn convert(image: &Path, out: &Path, qemu_img: &Path) -> anyhow::Result<u64> {
    let folder = out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    // Beside the output: a raw disk is too large for a folder in memory.
    let work = tempfile::Builder::new()
        .prefix(".lab-image-")
        .tempdir_in(folder)?;
    let raw = work.path().join("disk.raw");
    let output = Command::new(qemu_img)
        .args(["convert", "-O", "raw", "-S", "4k"])
        .args([image, &raw])
        .output()
        .with_context(|| format!("cannot run {}", qemu_img.display()))?;
    ensure!(
        output.status.success(),
        "{} can't read {}: {}",
        qemu_img.display(),
        image.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let size = fs_err::metadata(&raw)?.len();
    let packed = work.path().join("disk.raw.zst");
    compress::to_zstd(&raw, &packed)?;
    fs_err::rename(packed, out)?;
    Ok(size)
}
