//! What goes on when we have ended: programs that hold on to nothing of ours,
//! and the deletion of large files.

#![allow(
    unsafe_code,
    reason = "setsid between fork and exec has no safe form in std, and descriptors that were \
              inherited can only be reached by their number"
)]

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::io::{FdFlags, fcntl_setfd};

/// Starts `command` so that it outlives us and holds on to nothing of ours.
pub(crate) fn spawn(command: &mut Command) -> std::io::Result<std::process::Child> {
    keep_descriptors()?;
    own_session(command);
    command.spawn()
}

/// Deletes a file without waiting until its space is free, which takes seconds
/// for a large one that is still being written to the disk, or where each block
/// is discarded. It is gone at once; the space is freed by the end of a program
/// that has it open, and ends when we let it.
pub(super) fn delete(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::open(path);
    fs_err::remove_file(path)?;
    let (wait, end) = std::io::pipe()?;
    let mut holder = Command::new("cat");
    // it is not standard output that it is there for: nothing comes to be written
    holder
        .current_dir("/")
        .stdin(wait)
        .stdout(file?)
        .stderr(Stdio::null());
    // if it can't be started, the space is free before we go on
    let _ = spawn(&mut holder);
    // first our own descriptor, so that not we are the last who has it
    drop(holder);
    drop(end);
    Ok(())
}

/// Makes `command` start in a session of its own, so that neither Ctrl-C nor
/// the end of the terminal or of the build reaches it. The files that it makes
/// are its user's alone: consoles, packets and memory hold what is secret.
pub(super) fn own_session(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed;
    // setsid and umask are such, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::umask(Mode::RWXG | Mode::RWXO);
            Ok(())
        });
    }
}

/// Keeps every descriptor above standard error from programs that we start.
/// Make's jobserver and the executor's pipes are inherited without the flag
/// that does so; a QEMU that kept them would keep a build from ever ending.
pub(super) fn keep_descriptors() -> std::io::Result<()> {
    for entry in std::fs::read_dir("/dev/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if number > 2 {
            // SAFETY: the number was just listed as an open descriptor of this
            // process; it is borrowed for one call that closes nothing. Should
            // it have been closed since (the listing's own is), the call says
            // so and nothing else happens.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_is_gone_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs_err::write(&path, "x").unwrap();
        delete(&path).unwrap();
        assert!(!path.exists());
        assert!(delete(&path).is_err());
    }
}
