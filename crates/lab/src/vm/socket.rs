//! Connecting to a Unix socket whose path may be longer than the system takes.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The longest path that every system takes: 104 bytes on macOS with the
/// final zero, 108 on Linux.
const LIMIT: usize = 103;

/// Connects to the socket at `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= LIMIT {
        return UnixStream::connect(path);
    }
    through_folder(path)
}

#[cfg(target_os = "linux")]
fn through_folder(path: &Path) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixStream::connect(path);
    };
    let folder = std::fs::File::open(folder)?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

#[cfg(not(target_os = "linux"))]
fn through_folder(path: &Path) -> io::Result<UnixStream> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "{} is longer than a socket's path can be ({LIMIT} bytes): run from the checkout, or move it up",
            path.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_long_path_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(80)).join("y".repeat(80));
        fs_err::create_dir_all(&deep).unwrap();
        let fd = fs_err::File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/s", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let listener = std::os::unix::net::UnixListener::bind(short).unwrap();
        let mut client = connect(&deep.join("s")).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "hello");
    }
}
