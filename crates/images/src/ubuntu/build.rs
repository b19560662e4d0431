//! `lab-image ubuntu`: the same files that `lab-image debian` makes, from
//! what is pinned.

use std::path::{Path, PathBuf};

use super::get::fetch_pinned;
use super::lock::{Lock, What};
use super::target;
use crate::debian::Arch;
use crate::fetch::Patience;

/// Download Ubuntu's images as they are pinned.
///
/// For `aarch64` the server's `disk.qcow2`; for `x86_64` the target's
/// `target.raw.zst`, `vmlinuz` and `initrd.img`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architecture of the image.
    #[arg(long)]
    arch: Arch,
    /// The pins.
    #[arg(long, value_name = "FILE", default_value = "vendor/ubuntu.lock.toml")]
    lock: PathBuf,
    /// Folder for the outputs.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// QEMU's program for images.
    #[arg(long, value_name = "FILE", default_value = "qemu-img")]
    qemu_img: PathBuf,
}

/// Downloads, and converts the target's image.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lock = Lock::load(&args.lock)?;
    build(
        &lock,
        args.arch,
        &args.out,
        &args.qemu_img,
        Patience::default(),
    )
}

/// Makes the files for `arch` in the folder `out`.
pub fn build(
    lock: &Lock,
    arch: Arch,
    out: &Path,
    qemu_img: &Path,
    patience: Patience,
) -> anyhow::Result<()> {
    let fetch = |what, path: &Path| fetch_pinned(lock, what, path, patience);
    match arch {
        Arch::Aarch64 => fetch(What::Server, &out.join("disk.qcow2")),
        Arch::X86_64 => {
            fetch(What::Kernel, &out.join("vmlinuz"))?;
            fetch(What::Initrd, &out.join("initrd.img"))?;
            let image = out.join(".cloudimg.qcow2");
            fetch(What::Target, &image)?;
            eprintln!("::stage compressing the target's disk");
            target::convert(&image, &out.join("target.raw.zst"), qemu_img)?;
            fs_err::remove_file(image)?;
            Ok(())
        }
    }
}
