//! Files that other processes read while we write them.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Writes `contents` to `path` so that a reader sees the old file or the new
/// one, never a part: temporary name in the same folder, fsync, rename.
pub fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(folder)
        .with_context(|| format!("cannot make a temporary file in {}", folder.display()))?;
    file.write_all(contents)
        .and_then(|()| {
            file.as_file()
                .set_permissions(std::fs::Permissions::from_mode(mode))
        })
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.persist(path)
        .with_context(|| format!("cannot put {} in place", path.display()))?;
    Ok(())
}

/// Like [`write_atomically`], but leaves a file that already says this alone,
/// so that its modification time keeps meaning something.
pub fn write_if_changed(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == contents) {
        return Ok(false);
    }
    write_atomically(path, contents, mode).map(|()| true)
}

/// Opens the file at `path` to be locked; it is made if it isn't there, and what
/// is in it is nobody's concern.
pub fn open_lock(path: &Path) -> std::io::Result<fs_err::File> {
    fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Deletes the file at `path`; that there is none is what was wanted.
pub fn remove_if_there(path: impl AsRef<Path>) -> std::io::Result<()> {
    match fs_err::remove_file(path.as_ref()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves the file at `path` to `PATH.1`, in place of the one there: the file
/// before this one stays to be looked at.
pub fn keep_last(path: &Path) -> std::io::Result<()> {
    let mut last = path.as_os_str().to_owned();
    last.push(".1");
    match fs_err::rename(path, std::path::PathBuf::from(last)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        write_atomically(&path, b"one", 0o600).unwrap();
        assert!(write_if_changed(&path, b"two", 0o600).unwrap());
        assert!(!write_if_changed(&path, b"two", 0o600).unwrap());
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs_err::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }
}
