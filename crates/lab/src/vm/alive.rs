//! Whether a QEMU of a VM lives, also one that nobody could write down.
//!
//! QEMU has a locked file as its standard input, and the system lets go of the
//! lock when QEMU ends, however that ends. Whoever is killed right after having
//! started a QEMU leaves one that has no record and doesn't listen yet; it
//! would take the VM's sockets over from the next one.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;

use super::qmp::Qmp;
use super::socket;
use crate::fsutil;
use crate::state::VmPaths;

/// How long an unknown QEMU may take to listen, and to end when it is told to.
const LIMIT: Duration = Duration::from_secs(10);

/// The lock for a QEMU that is about to start. One that has just ended may have
/// threads that end a little later.
pub(super) fn lock(vm: &VmPaths) -> anyhow::Result<File> {
    let file = open(vm)?;
    let deadline = Instant::now() + LIMIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "another QEMU of this VM runs: {} is its standard input",
                        vm.alive().display()
                    )
                });
            }
        }
    }
}

/// Ends a QEMU that was started by someone who was killed before it could be
/// written down. True if there was one.
pub(super) fn end_orphan(vm: &VmPaths) -> anyhow::Result<bool> {
    let deadline = Instant::now() + LIMIT;
    let mut found = false;
    while lives(vm)? {
        found = true;
        anyhow::ensure!(
            Instant::now() < deadline,
            "a QEMU of this VM runs, of which nothing is known and which does not answer: \
             find it (its standard input is {}) and end it",
            vm.alive().display()
        );
        if let Ok(mut qmp) = Qmp::connect(&vm.qmp(), Duration::from_secs(2)) {
            let _ = qmp.execute("quit", json!({}));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(found)
}

fn lives(vm: &VmPaths) -> anyhow::Result<bool> {
    let file = open(vm)?;
    let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    // one that was started before there was such a lock
    Ok(!free || socket::connect(&vm.qmp()).is_ok())
}

fn open(vm: &VmPaths) -> anyhow::Result<File> {
    Ok(fsutil::open_lock(&vm.alive())?.into_parts().0)
}
