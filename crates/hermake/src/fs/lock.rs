//! Advisory locks on files: released by the kernel however the holder ends.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

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
    hold(open(path)?, path, waiting)
}

/// Opens `path` as a lock that is taken more than once; see [`again`].
pub fn reusable(path: &Path) -> Result<File> {
    open(path)
}

/// Takes the lock that `file` is, waiting while another process has it, until what it gives is dropped.
pub fn again<'a>(file: &'a File, path: &Path) -> Result<Again<'a>> {
    wait(|| try_flock(file), path, || ())?;
    Ok(Again(file))
}

/// Held until it is dropped; its file stays open.
#[derive(Debug)]
pub struct Again<'a>(&'a File);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        // a lock that can't be given back goes with the process
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

/// As many locks as there are digests, in one file: nothing is created to take one.
#[derive(Debug)]
pub struct Many {
    path: PathBuf,
    #[cfg(target_os = "linux")]
    file: std::sync::OnceLock<File>,
}

/// One of [`Many`], held until it is dropped.
#[derive(Debug)]
pub struct One<'a> {
    #[cfg(target_os = "linux")]
    held: (&'a File, u64),
    #[cfg(not(target_os = "linux"))]
    _held: (Lock, std::marker::PhantomData<&'a ()>),
}

impl Many {
    /// Those at `path`, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            #[cfg(target_os = "linux")]
            file: std::sync::OnceLock::new(),
        }
    }

    /// Takes the lock of `digest` for this process. If another one has it, `waiting` is called once, then it waits.
    #[cfg(target_os = "linux")]
    pub fn take(&self, digest: &super::Digest, waiting: impl FnOnce()) -> Result<One<'_>> {
        use crate::exec::prelude::lock_byte;
        let (file, at) = self.place(digest)?;
        wait(|| lock_byte(file, at, true), &self.path, waiting)?;
        Ok(One { held: (file, at) })
    }

    /// An error if none can be taken here.
    pub fn ready(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        self.place(&super::Digest([0; 32]))?;
        #[cfg(not(target_os = "linux"))]
        super::atomic::create_parent(&self.path)?;
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn place(&self, digest: &super::Digest) -> Result<(&File, u64)> {
        if self.file.get().is_none() {
            // two threads at once: one file is kept, the other closed before anything is locked through it
            let _ = self.file.set(open(&self.path)?);
        }
        let file = self.file.get().context("a lock file")?;
        let mut first = [0; 8];
        first.copy_from_slice(&digest.0[..8]);
        Ok((file, u64::from_le_bytes(first)))
    }

    /// Takes the lock of `digest` for this process, if no other one has it.
    #[cfg(target_os = "linux")]
    pub fn try_take(&self, digest: &super::Digest) -> Result<Option<One<'_>>> {
        let (file, at) = self.place(digest)?;
        let taken = crate::exec::prelude::lock_byte(file, at, true);
        let taken = taken.with_context(|| format!("locking {}", self.path.display()))?;
        Ok(taken.then_some(One { held: (file, at) }))
    }

    /// Takes the lock of `digest`, if no other process has it.
    #[cfg(not(target_os = "linux"))]
    pub fn try_take(&self, digest: &super::Digest) -> Result<Option<One<'_>>> {
        let path = self.path.with_extension("d").join(&digest.hex()[..3]);
        let held = try_exclusive(&path)?;
        Ok(held.map(|lock| One {
            _held: (lock, std::marker::PhantomData),
        }))
    }

    /// Takes the lock of `digest`. If another process has it, `waiting` is called once, then it waits.
    #[cfg(not(target_os = "linux"))]
    pub fn take(&self, digest: &super::Digest, waiting: impl FnOnce()) -> Result<One<'_>> {
        // as many files as there are three hexadecimal digits: they need never be removed
        let path = self.path.with_extension("d").join(&digest.hex()[..3]);
        Ok(One {
            _held: (exclusive(&path, waiting)?, std::marker::PhantomData),
        })
    }
}

#[cfg(target_os = "linux")]
impl Drop for One<'_> {
    fn drop(&mut self) {
        // a lock that can't be given back goes with the process
        let _ = crate::exec::prelude::lock_byte(self.held.0, self.held.1, false);
    }
}

fn hold(file: File, path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
    wait(|| try_flock(&file), path, waiting)?;
    Ok(Lock { file })
}

fn try_flock(file: &File) -> std::io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn wait(
    take: impl Fn() -> std::io::Result<bool>,
    path: &Path,
    waiting: impl FnOnce(),
) -> Result<()> {
    let what = || format!("locking {}", path.display());
    if take().with_context(what)? {
        return Ok(());
    }
    waiting();
    // polled, so that Ctrl-C ends the wait: handlers here restart a blocking flock
    loop {
        std::thread::sleep(std::time::Duration::from_millis(5));
        if crate::exec::signals::interrupted() {
            anyhow::bail!("interrupted while waiting for another hermake");
        }
        match take() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).with_context(what),
        }
    }
}

/// Takes the lock at `path` if nobody has it.
pub fn try_exclusive(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    let taken = try_flock(&file).with_context(|| format!("locking {}", path.display()))?;
    Ok(taken.then_some(Lock { file }))
}
