//! Files that are there whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// The umask of tasks.
const USUAL: u16 = 0o022;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name that no other process or thread of this machine uses now.
pub fn unique() -> String {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(
        "{}-{count}-{:x}",
        std::process::id(),
        super::now_ns() & 0xffff_ffff
    )
}

/// Writes `bytes` to a temporary name beside `path`, then renames it there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let tmp = parent.join(format!(".hermake-{}", unique()));
    let what = || format!("writing {}", path.display());
    let attempt = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&tmp)?;
        file.write_all(bytes)?;
        fs::rename(&tmp, path)
    };
    let mut result = attempt();
    if result
        .as_ref()
        .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    {
        fs::create_dir_all(parent).with_context(what)?;
        result = attempt();
    }
    if result.is_err() {
        // best effort: the write's own error is the one to tell
        let _ = fs::remove_file(&tmp);
    }
    result.with_context(what)
}

/// Creates the file `path`, which must not be there, with these permissions, and its parents.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<fs::File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let attempt = || {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
    };
    let mut file = match attempt() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            attempt()
        }
        other => other,
    }?;
    file.write_all(bytes)?;
    if mode & umask() != 0 || mode & 0o7000 != 0 {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(file)
}

static UMASK: OnceLock<u32> = OnceLock::new();

/// From now on this process creates files and folders as tasks do: what they see, and what is recorded of folders
/// that are made for them, must not depend on who calls. hermake's own files lie in folders that are there by now.
pub fn usual_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(USUAL.into()));
    // known already: then more is done than needed
    let _ = UMASK.set(u32::from(USUAL));
}

/// Permissions that files don't get when they are created; all where that can't be known.
fn umask() -> u32 {
    *UMASK.get_or_init(|| {
        let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("Umask:"));
        line.and_then(|l| u32::from_str_radix(l.trim(), 8).ok())
            .unwrap_or(0o777)
    })
}

/// Removes whatever is at `path`: nothing, a file, a symlink or a tree (read-only folders too).
pub fn remove(path: &Path) -> Result<()> {
    let what = || format!("removing {}", path.display());
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(what),
        Ok(meta) if meta.is_dir() => match fs::remove_dir_all(path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                make_writable(path)?;
                fs::remove_dir_all(path).with_context(what)
            }
            Err(e) => Err(e).with_context(what),
        },
        Ok(_) => fs::remove_file(path).with_context(what),
    }
}

fn make_writable(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let what = || format!("removing {}", dir.display());
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).with_context(what)?;
    for item in fs::read_dir(dir).with_context(what)? {
        let item = item.with_context(what)?;
        if item.file_type().with_context(what)?.is_dir() {
            make_writable(&item.path())?;
        }
    }
    Ok(())
}

/// Removes what was begun in `dir` more than so many seconds ago: whoever did was killed.
pub fn sweep(dir: &Path, seconds: i64) {
    use std::os::unix::fs::MetadataExt as _;
    let now = i64::try_from(super::now_ns() / 1_000_000_000).unwrap_or(0);
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        // not mtime: what is linked has that of what it was linked to
        if item.metadata().is_ok_and(|m| m.ctime() + seconds < now) {
            // tried again next time
            let _ = remove(&item.path());
        }
    }
}

/// Creates the parent folder of `path` if it is not there: asking costs less than trying.
pub fn have_parent(path: &Path) -> Result<()> {
    if !path.parent().is_some_and(Path::is_dir) {
        create_parent(path)?;
    }
    Ok(())
}

/// Creates the parent folder of `path`.
pub fn create_parent(path: &Path) -> Result<PathBuf> {
    let parent = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    fs::create_dir_all(&parent).with_context(|| format!("creating {}", parent.display()))?;
    Ok(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        write(&dir.path().join("file"), b"x").unwrap();
        let left = || fs::read_dir(dir.path()).unwrap().count();
        sweep(dir.path(), 60);
        assert_eq!(left(), 2);
        sweep(dir.path(), -2);
        assert_eq!(left(), 0);
        sweep(&tree, 60);
    }
}
