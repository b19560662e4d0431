//! Whole lines on standard error, also when many processes write to it at once.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{FlockOperation, flock};

/// A pipe keeps short writes apart, not long ones: who speaks holds this lock, which all hermakes of a checkout share.
static LOCK: OnceLock<PathBuf> = OnceLock::new();
static SPEAKING: Mutex<Option<File>> = Mutex::new(None);

/// From now on the lock at `path` is held while something is said.
pub fn share(path: PathBuf) {
    // the first one stays: there is one checkout to a process
    let _ = LOCK.set(path);
}

/// Says `text`, which ends with a line.
pub fn speak(text: &str) {
    let mut held = SPEAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_none()
        && let Some(path) = LOCK.get()
    {
        // where there is no lock yet, nobody else speaks either
        *held = OpenOptions::new().create(true).append(true).open(path).ok();
    }
    let locked = held
        .as_ref()
        .is_some_and(|file| flock(file, FlockOperation::LockExclusive).is_ok());
    // nobody to tell if standard error is closed
    let _ = std::io::stderr().write_all(text.as_bytes());
    if locked && let Some(file) = held.as_ref() {
        let _ = flock(file, FlockOperation::Unlock);
    }
}
