//! The content disk, changed while the server runs.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::args::{CONTENT_DEVICE, SCSI_BUS};
use super::disk::Fingerprint;
use super::qmp::{Qmp, QmpError};
use super::record::Record;
use crate::state::LabPaths;

/// How long QEMU may take to take the old disk away.
const UNPLUG: Duration = Duration::from_secs(10);

/// Plugs the content disk in if it isn't the one that `record` names, and
/// returns the record as it is then. In the guest the old disk vanishes and the
/// new one appears, with the same label and serial number.
pub fn refresh(lab: &LabPaths, mut record: Record) -> anyhow::Result<Record> {
    if !lab.content().exists() {
        return Ok(record);
    }
    let now = Fingerprint::of(&lab.content(), record.content.as_ref())?;
    if record.content.as_ref() == Some(&now) {
        return Ok(record);
    }
    let vm = lab.vm("server");
    let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(10))?;
    // whoever is killed in between leaves none that a record vouches for
    record.content = None;
    record.write(&vm)?;
    unplug(&mut qmp).context("cannot take the old content disk out of the server")?;
    plug(&mut qmp).context("cannot plug the content disk into the server")?;
    record.content = Some(now);
    record.write(&vm)?;
    Ok(record)
}

fn unplug(qmp: &mut Qmp) -> Result<(), QmpError> {
    match qmp.execute("device_del", json!({ "id": CONTENT_DEVICE })) {
        Ok(_) => {
            qmp.wait_event("DEVICE_DELETED", UNPLUG, |event| {
                event["data"]["device"] == CONTENT_DEVICE
            })?;
        }
        Err(QmpError::Refused { description, .. }) if description.contains("not found") => {}
        Err(error) => return Err(error),
    }
    match qmp.execute("blockdev-del", json!({ "node-name": "content" })) {
        Err(QmpError::Refused { description, .. })
            if description.contains("Failed to find node")
                || description.contains("Cannot find") =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

fn plug(qmp: &mut Qmp) -> Result<(), QmpError> {
    let file = json!({ "driver": "file", "filename": "../../content.img" });
    qmp.execute(
        "blockdev-add",
        json!({ "node-name": "content", "driver": "raw", "read-only": true, "file": file }),
    )?;
    qmp.execute(
        "device_add",
        json!({
            "driver": "scsi-hd", "id": CONTENT_DEVICE, "bus": SCSI_BUS, "drive": "content", "serial": "content",
        }),
    )
    .map(drop)
}
