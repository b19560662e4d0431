//! Files that are either the old or the new one, whatever happens.

use std::{io, io::Write, path::Path};

use fs_err as fs;

/// Replaces the file `path` by one that holds `bytes`, which are on the disk
/// when this returns.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}
