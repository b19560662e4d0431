//! The folder that becomes a sandbox's root: places to mount things at, and the few files of /etc. Made once for
//! what the machine is like, and never written to again, so that tasks can share it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exec::sandbox::layout::{ETC, ETC_NETWORK, HOME, OWN, ROOT, SYSTEM};
use crate::fs::{Digest, atomic};

/// Parts of the system that are to be mounted: folders, not links.
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    let all = SYSTEM.iter().map(Path::new);
    all.filter(|dir| !dir.is_symlink() && dir.is_dir())
}

/// Files and folders of /etc that are to be mounted: those that may change at any time.
pub(super) fn etc_of_network() -> impl Iterator<Item = PathBuf> {
    let all = ETC_NETWORK.iter().map(|name| Path::new("/etc").join(name));
    all.filter(|path| path.exists())
}

/// The folder for this machine as it is now.
pub(super) fn folder(hermake: &Path, network: bool) -> Result<PathBuf> {
    let dir = hermake.join("roots").join(key(network));
    if dir.is_dir() {
        return Ok(dir);
    }
    let tmp = hermake.join("tmp").join(atomic::unique());
    fill(&tmp, network).with_context(|| format!("making {}", dir.display()))?;
    atomic::create_parent(&dir)?;
    if fs::rename(&tmp, &dir).is_err() {
        // another process made the same one first
        atomic::remove(&tmp)?;
    }
    Ok(dir)
}

/// A name that changes with what the folder is made from.
fn key(network: bool) -> String {
    let mut text = format!("2 {network}");
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
    if network {
        for path in etc_of_network() {
            let _ = write!(text, "\n{} {}", path.display(), path.is_dir());
        }
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
        copy(&Path::new("/etc").join(name), &at("etc").join(name))?;
    }
    for path in etc_of_network().filter(|_| network) {
        let to = dir.join(path.strip_prefix("/").unwrap_or(&path));
        if path.is_dir() {
            fs::create_dir_all(to)?;
        } else {
            fs::write(to, "")?;
        }
    }
    Ok(())
}

/// A file, or a folder of links; what is not there is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("reading {}", from.display());
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for item in fs::read_dir(from).with_context(what)? {
            let item = item.with_context(what)?;
            if let Ok(target) = fs::read_link(item.path()) {
                symlink(target, to.join(item.file_name()))?;
            }
        }
    } else if from.exists() {
        let bytes = fs::read(from).with_context(what)?;
        atomic::create(to, &bytes, 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
