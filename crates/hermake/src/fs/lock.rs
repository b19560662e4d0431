//! Advisory locks on files: released by the kernel however the holder ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Bytes in the locked file.
    pub fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len())
    }

    /// Marks what is locked as in use by making the file one byte long, or as not by making it empty.
    pub fn mark(&self, used: bool) {
        // without the mark a left-over is found when it is used again
        let _ = self.file.set_len(u64::from(used));
    }
}

fn open(path: &Path) -> Result<File> {
    let what = || format!("opening the lock {}", path.display());
    let attempt = || {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    match attempt() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            super::atomic::create_parent(path)?;
            attempt().with_context(what)
        }
        other => other.with_context(what),
    }
}

/// Takes the lock at `path`. If another process has it, `waiting` is called once, then it waits.
pub fn exclusive(path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
    let file = open(path)?;
    let what = || format!("locking {}", path.display());
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(Lock { file }),
        Err(Errno::WOULDBLOCK) => waiting(),
        Err(e) => return Err(e).with_context(what),
    }
    // polled, so that Ctrl-C ends the wait: handlers here restart a blocking flock
    loop {
        std::thread::sleep(std::time::Duration::from_millis(5));
        if crate::exec::signals::interrupted() {
            anyhow::bail!("interrupted while waiting for another hermake");
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { file }),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(e) => return Err(e).with_context(what),
        }
    }
}

/// Takes the lock at `path` if nobody has it.
pub fn try_exclusive(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("locking {}", path.display())),
    }
}
