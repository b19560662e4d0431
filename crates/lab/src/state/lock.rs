//! One start or stop of a VM at a time, whoever asks.

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

use super::VmPaths;
use crate::fsutil;

/// Held while a VM is started or stopped. The system releases it when its
/// holder ends, however that ends.
#[derive(Debug)]
pub struct VmLock {
    _file: fs_err::File,
}

impl VmLock {
    /// Waits for the lock of a VM and takes it; says so if it has to wait.
    pub fn take(vm: &VmPaths) -> anyhow::Result<Self> {
        fs_err::create_dir_all(vm.dir())?;
        let path = vm.lock();
        let file = fsutil::open_lock(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!(
                "waiting: another command starts or stops {}",
                vm.dir().display()
            );
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self { _file: file })
    }
}
