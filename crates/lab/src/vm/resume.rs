//! Starting a VM from the memory that was saved of it; where that can't be,
//! saying why, so that it boots.

use std::time::Duration;

use anyhow::Context as _;

use super::launch::{Body, launch};
use super::qmp::Qmp;
use super::record::{Record, forget};
use super::snapshot::{self, Saved};
use super::stop;
use crate::net::bridge;
use crate::state::VmPaths;

/// Loads what was saved of a VM, and writes its record. The guest is still
/// paused, and what was saved still there. None if there is nothing to go on
/// from: what could not be used is dropped, which is said.
///
/// # Errors
///
/// Only what keeps the VM from booting as well.
pub(super) fn attempt(body: &Body<'_>, fresh: bool) -> anyhow::Result<Option<(Qmp, Record)>> {
    let Body { vm, name, .. } = *body;
    let Some(saved) = Saved::read(vm) else {
        // memory that nothing vouches for: the save was interrupted
        snapshot::forget(vm)?;
        return Ok(None);
    };
    let why = if fresh {
        "FRESH is set".to_owned()
    } else if let Some(why) = saved.misfit(vm, &body.instance, &body.wanted) {
        why
    } else {
        match load(body, &saved) {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(error) => {
                forget(vm)?;
                format!("{error:#}")
            }
        }
    };
    eprintln!("{name}: boots; the memory that was saved of it is dropped: {why}");
    snapshot::forget(vm)?;
    Ok(None)
}

/// Picks up a guest that stands still, since whoever was suspending or resuming
/// it was killed. Its memory is in the file if what vouches for that is there:
/// then QEMU is ended, and there is no record of it any more. Otherwise it is in
/// QEMU, and the guest runs on, if it can.
pub(super) fn pick_up(
    vm: &VmPaths,
    name: &str,
    mut record: Record,
) -> anyhow::Result<Option<Record>> {
    if Saved::read(vm).is_none() {
        let runs = Qmp::connect(&vm.qmp(), Duration::from_secs(10))
            .map_err(Into::into)
            .and_then(|mut qmp| snapshot::let_run(vm, &mut qmp));
        match runs {
            Ok(()) => {
                eprintln!("{name}: goes on; it was being suspended or resumed");
                // its clock stood still too
                record.resumed = true;
                record.write(vm)?;
                return Ok(Some(record));
            }
            Err(error) => eprintln!("{name}: it stands still and can't go on: {error:#}"),
        }
    }
    stop::end(vm, &record.process, Duration::ZERO)?;
    bridge::unplug(&record.argv)?;
    forget(vm)?;
    Ok(None)
}

fn load(body: &Body<'_>, saved: &Saved) -> anyhow::Result<(Qmp, Record)> {
    let mut argv = body.argv.clone();
    argv.extend(["-incoming".to_owned(), "defer".to_owned()]);
    let mut launched = launch(body.vm, body.name, argv)?;
    let record = Record {
        content: saved.content.clone(),
        resumed: true,
        ..body.record(&launched)
    };
    snapshot::hold(body.vm)?;
    // Written at once, so that whatever happens next, `stop` finds the process.
    record.write(body.vm)?;
    let loaded = if record.qemu == saved.qemu {
        snapshot::load(body.vm, &mut launched.qmp).context("it can't be loaded")
    } else {
        Err(anyhow::anyhow!(
            "QEMU {} wrote it, and this is {}",
            saved.qemu,
            record.qemu
        ))
    };
    if let Err(error) = loaded {
        drop(launched.qmp);
        stop::end(body.vm, &launched.process, Duration::ZERO)?;
        return Err(error);
    }
    Ok((launched.qmp, record))
}
