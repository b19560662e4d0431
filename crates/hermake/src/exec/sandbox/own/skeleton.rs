//! The folder that becomes a sandbox's root: places to mount things at, and the few files of /etc. Made once for
//! what the machine is like, and never written to again, so that tasks can share it. It lies in the checkout: of
//! links it has only what `/bin` and the like are, so that nothing that walks there comes into the machine.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exec::sandbox::layout::{ETC, ETC_NETWORK, HOME, OWN, ROOT, SYSTEM};
use crate::fs::{Digest, atomic};
use crate::state;

/// Parts of the system that are to be mounted: folders, not links.
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    let all = SYSTEM.iter().map(Path::new);
    all.filter(|dir| !dir.is_symlink() && dir.is_dir())
}

/// Files and folders of /etc that are to be mounted: folders, and what the network needs, which may change any time.
pub(super) fn etc(network: bool) -> impl Iterator<Item = PathBuf> {
    let at = |name: &&str| Path::new("/etc").join(name);
    let folders = ETC.iter().map(at).filter(|path| path.is_dir());
    let more = ETC_NETWORK.iter().map(at).filter(|path| path.exists());
    folders.chain(more.filter(move |_| network))
}

/// The folder for this machine as it is now.
pub(super) fn folder(hermake: &Path, network: bool) -> Result<PathBuf> {
    once(hermake, "roots", &key(network), |dir| fill(dir, network))
}

/// The folder `name` of a `kind`, filled by `fill` if this is the first time in this boot; those of other boots go.
pub(super) fn once(
    hermake: &Path,
    kind: &str,
    name: &str,
    fill: impl Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let all = hermake.join(kind);
    let boot = format!("{:016x}", state::boot());
    let dir = all.join(&boot).join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    let tmp = hermake.join("tmp").join(atomic::unique());
    fill(&tmp).with_context(|| format!("making {}", dir.display()))?;
    for old in fs::read_dir(&all).into_iter().flatten().flatten() {
        if old.file_name() != *boot {
            atomic::remove(&old.path())?;
        }
    }
    atomic::create_parent(&dir)?;
    if fs::rename(&tmp, &dir).is_err() {
        // another process made the same one first
        atomic::remove(&tmp)?;
    }
    Ok(dir)
}

/// A name that changes with what the folder is made from.
fn key(network: bool) -> String {
    let mut text = format!("3 {network}");
    // a string takes all that is written to it
    for dir in SYSTEM {
        let _ = match fs::read_link(dir) {
            Ok(target) => write!(text, "\n{dir} {}", target.display()),
            Err(_) => write!(text, "\n{dir} {}", Path::new(dir).is_dir()),
        };
    }
    for name in ETC {
        if let Ok(meta) = fs::metadata(Path::new("/etc").join(name)) {
            let (time, more) = (meta.mtime(), meta.mtime_nsec());
            let _ = write!(
                text,
                "\n{name} {} {} {time} {more}",
                meta.ino(),
                meta.size()
            );
        }
    }
    for path in etc(network) {
        let _ = write!(text, "\n{} {}", path.display(), path.is_dir());
    }
    Digest::of(text.as_bytes()).short()
}

fn fill(dir: &Path, network: bool) -> Result<()> {
    let at = |path: &str| dir.join(path.trim_start_matches('/'));
    for path in ["etc", "proc", "dev", "tmp", HOME, ROOT] {
        fs::create_dir_all(at(path))?;
    }
    for sub in ["bin", "tools"] {
        fs::create_dir_all(at(OWN).join(sub))?;
    }
    for part in SYSTEM {
        match fs::read_link(part) {
            Ok(target) => symlink(target, at(part))?,
            Err(_) if Path::new(part).is_dir() => fs::create_dir_all(at(part))?,
            Err(_) => {}
        }
    }
    for name in ETC {
        let from = Path::new("/etc").join(name);
        // what is not there is left out
        if from.is_file() {
            let bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            atomic::create(&at("etc").join(name), &bytes, 0o644)?;
        }
    }
    for path in etc(network) {
        let to = dir.join(path.strip_prefix("/").unwrap_or(&path));
        if path.is_dir() {
            fs::create_dir_all(to)?;
        } else {
            fs::write(to, "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_in_another_boot_goes() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("places/0123/x");
        fs::create_dir_all(&old).unwrap();
        let make = |name: &str| {
            once(dir.path(), "places", name, |dir| {
                Ok(fs::create_dir_all(dir)?)
            })
        };
        let one = make("x").unwrap();
        assert!(one.is_dir() && !old.exists());
        let other = make("y").unwrap();
        assert!(one.is_dir() && other.is_dir());
    }

    #[test]
    fn made_once_and_with_what_the_network_needs() {
        let dir = tempfile::tempdir().unwrap();
        let one = folder(dir.path(), false).unwrap();
        assert_eq!(folder(dir.path(), false).unwrap(), one);
        assert!(one.join("build").is_dir() && one.join("etc/passwd").is_file());
        assert!(!one.join("etc/resolv.conf").exists());
        let other = folder(dir.path(), true).unwrap();
        assert_ne!(one, other);
        let there = Path::new("/etc/resolv.conf").exists();
        assert_eq!(other.join("etc/resolv.conf").exists(), there);
    }
}
