//! The packets of the lab segment: captured always, by the server's QEMU, and
//! bounded by whoever looks at the lab.
//!
//! QEMU's capture can't rotate by itself. Over its control socket it can be
//! taken away and put back while the VM runs, and then begins a new file.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::state::{LabArgs, LabPaths};
use crate::vm::State;
use crate::vm::qmp::{Qmp, QmpError};

/// A capture that is this long becomes `lab.pcap.1`, and a new one is begun:
/// with the old one it takes twice that.
const LIMIT: u64 = 64 << 20;

/// Options of `lab pcap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
}

/// Says where the capture is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    bound(&lab);
    let now = lab.vm("server").pcap();
    let mut last = now.clone().into_os_string();
    last.push(".1");
    let mut text = String::new();
    // QEMU begins a new one at each start, and whoever looks when it is long
    for (path, what) in [
        (now.as_path(), "the last packets"),
        (Path::new(&last), "before that"),
    ] {
        if let Ok(metadata) = std::fs::metadata(path) {
            let mib = metadata.len().div_ceil(1 << 20);
            let _ = writeln!(text, "{}  {mib} MiB, {what}", path.display());
        }
    }
    anyhow::ensure!(
        !text.is_empty(),
        "nothing was captured yet: the server has never been started (make up)"
    );
    crate::status::print(&text)
}

/// Begins a new file if the capture has become long. That it can't is no
/// failure of anything else.
pub fn bound(lab: &LabPaths) {
    let _ = rotate(lab, LIMIT);
}

/// Begins a new file if the capture is longer than `limit` bytes; true if it did.
pub fn rotate(lab: &LabPaths, limit: u64) -> anyhow::Result<bool> {
    let vm = lab.vm("server");
    let path = vm.pcap();
    if !std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > limit) {
        return Ok(false);
    }
    if !matches!(State::of(&vm)?, State::Running(_)) {
        return Ok(false);
    }
    let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(2))?;
    match qmp.execute("object-del", json!({ "id": "capture" })) {
        // one that was interrupted in between left none
        Ok(_) | Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut last = path.clone().into_os_string();
    last.push(".1");
    fs_err::rename(&path, last)?;
    qmp.execute(
        "object-add",
        json!({
            "qom-type": "filter-dump", "id": "capture", "netdev": "lab",
            "file": "lab.pcap", "maxlen": 600,
        }),
    )?;
    Ok(true)
}
