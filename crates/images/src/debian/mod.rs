//! The `debian` distribution: images built from packages, for a host that
//! reaches only a Debian mirror, and for CI.

mod bootstrap;
mod emulation;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use fs_err as fs;

use crate::{compress, disk};
pub use bootstrap::Arch;
use bootstrap::Recipe;

const ESSENTIAL_HOOK: &str = include_str!("hooks/essential.sh");
const CUSTOMIZE_HOOK: &str = include_str!("hooks/customize.sh");

/// Build an image from Debian packages.
///
/// For `aarch64` the server's `disk.qcow2`; for `x86_64` the target's
/// `target.raw.zst`, `vmlinuz` and `initrd.img`. With each, `packages.tsv`:
/// the packages and versions that are in it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architecture of the image.
    #[arg(long)]
    arch: Arch,
    /// Debian suite.
    #[arg(long)]
    suite: String,
    /// Mirror of the main archive; without it, mmdebstrap's own default.
    #[arg(long)]
    mirror: Option<String>,
    /// Folder for the outputs.
    #[arg(long)]
    out: PathBuf,
}

/// Builds the image.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    emulation::ensure(args.arch, root)?;

    // Without root, the hook's root is another user of the host, who must get
    // through to this folder: so it is in the system's folder for temporary
    // files, not below a home.
    let mut builder = tempfile::Builder::new();
    builder.prefix("lab-image-");
    let work = if root {
        builder.tempdir()?
    } else {
        builder.tempdir_in("/var/tmp")?
    };
    let (hooks, made) = (work.path().join("hooks"), work.path().join("out"));
    let access = if root { 0o700 } else { 0o777 };
    for (dir, mode) in [
        (work.path(), access & 0o755),
        (&*hooks, 0o755),
        (&*made, access),
    ] {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))?;
    }

    let recipe = Recipe {
        arch: args.arch,
        suite: &args.suite,
        mirror: args.mirror.as_deref(),
        root,
    };
    for (name, text) in [
        ("essential.sh", ESSENTIAL_HOOK),
        ("customize.sh", CUSTOMIZE_HOOK),
        ("settings", &recipe.settings(&made)),
    ] {
        let path = hooks.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }

    eprintln!(
        "::stage packages of Debian {} for {}",
        args.suite,
        args.arch.debian()
    );
    let status = mmdebstrap(root)
        .args(recipe.arguments(&hooks))
        .env("TMPDIR", work.path())
        .status()
        .context("starting mmdebstrap; install the packages mmdebstrap and util-linux")?;
    anyhow::ensure!(
        status.success(),
        "mmdebstrap failed ({status}); what it printed is above. Is there room in {} and does the mirror {} answer?",
        work.path().display(),
        args.mirror.as_deref().unwrap_or("(mmdebstrap's default)"),
    );

    let raw = made.join("disk.raw");
    disk::make_bootable(&raw, &made.join("loader.efi"), args.arch.loader_name())?;
    fs::create_dir_all(&args.out)?;
    match args.arch {
        Arch::Aarch64 => in_one_step(&args.out.join("disk.qcow2"), |new| to_qcow2(&raw, new))?,
        Arch::X86_64 => {
            eprintln!("::stage compressing the target's image");
            in_one_step(&args.out.join("target.raw.zst"), |new| {
                compress::to_zstd(&raw, new)
            })?;
            for name in ["vmlinuz", "initrd.img"] {
                in_one_step(&args.out.join(name), |new| copy(&made.join(name), new))?;
            }
        }
    }
    in_one_step(&args.out.join("packages.tsv"), |new| {
        copy(&made.join("packages.tsv"), new)
    })
}

/// Has `write` make a new file, and puts it in the place of `out`: a machine
/// that runs from the old one keeps it, and a build that is cut short too.
fn in_one_step(out: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut new = out.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    write(&new)?;
    Ok(fs::rename(&new, out)?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to)?;
    Ok(())
}

/// `mmdebstrap`, all of whose mounts and processes are gone when it is.
///
/// As root it mounts /dev, /proc and /sys below its folder in the mounts that
/// it finds; cut short, it would leave them to whoever deletes that folder.
/// Without root it makes such namespaces itself.
fn mmdebstrap(root: bool) -> Command {
    if !root {
        return Command::new("mmdebstrap");
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["--", "mmdebstrap"]);
    command
}

fn to_qcow2(raw: &Path, out: &Path) -> anyhow::Result<()> {
    let status = Command::new("qemu-img")
        .args(["convert", "-O", "qcow2"])
        .args([raw, out])
        .status()
        .context("starting qemu-img; install the package qemu-utils")?;
    anyhow::ensure!(
        status.success(),
        "qemu-img convert to {} failed ({status})",
        out.display()
    );
    Ok(())
}
