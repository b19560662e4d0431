//! The disk of a VM that ran when the host itself went down: what QEMU had
//! written of it may be there in part (docs/decisions/044).

use std::path::Path;

use super::record::State;
use super::{disk, process};
use crate::host::Host;
use crate::state::VmPaths;

/// Discards the VM's disk, and says so, if its VM ran when the host went down
/// and its tables contradict each other since. `host` is read only then.
///
/// # Errors
///
/// If `qemu-img` can't be started.
pub fn discard_torn(vm: &VmPaths, name: &str, host: &Path) -> anyhow::Result<()> {
    let State::Died(record) = State::of(vm)? else {
        return Ok(());
    };
    if record.process.boot_id == process::boot_id() || !vm.disk().exists() {
        return Ok(());
    }
    if !disk::is_whole(vm, &Host::load(host)?.qemu.img)? {
        eprintln!(
            "{name}: the host went down while it ran, and qemu-img finds its disk damaged: it begins with a new one"
        );
        disk::discard(vm)?;
    }
    Ok(())
}
