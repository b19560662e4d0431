//! Starting a VM from the memory that was saved of it; where that can't be,
//! saying why, so that it boots.

use std::time::Duration;

use anyhow::Context as _;

use super::launch::{Body, launch};
use super::qmp::Qmp;
use super::record::{Record, forget};
use super::snapshot::{self, Saved};
use super::stop;

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

fn load(body: &Body<'_>, saved: &Saved) -> anyhow::Result<(Qmp, Record)> {
    let mut argv = body.argv.clone();
    argv.extend(["-incoming".to_owned(), "defer".to_owned()]);
    let mut launched = launch(body.vm, body.name, argv)?;
    let record = Record {
        content: saved.content.clone(),
        resumed: true,
        ..body.record(&launched)
    };
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
