//! The packets of the lab segment: captured always, by the server's QEMU, and
//! bounded by whoever looks at the lab.
//!
//! QEMU's capture can't rotate by itself. Over its control socket it can be
//! taken away and put back while the VM runs, and then begins a new file.

use std::fmt::Write as _;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use crate::fsutil;
use crate::state::{LabArgs, LabPaths};
use crate::vm::State;
use crate::vm::qmp::{Qmp, QmpError};

/// A capture that is this long becomes `lab.pcap.1`, and a new one is begun:
/// with the old one it takes twice that.
const LIMIT: u64 = 64 << 20;

/// Lengths of what is before all packets, and before each.
const HEAD: usize = 24;
const PACKET: usize = 16;

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
            if let Some(ahead) = ahead(path).filter(|ahead| ahead.unsigned_abs() > 2) {
                let _ = writeln!(
                    text,
                    "  QEMU's times in it are {ahead} s off: editcap -t {} {} OUT puts them right",
                    -ahead,
                    path.display()
                );
            }
        }
    }
    anyhow::ensure!(
        !text.is_empty(),
        "nothing was captured yet: the server has never been started (make up)"
    );
    crate::status::print(&text)
}

/// By how many seconds the times in a capture are ahead of what they were.
///
/// QEMU adds how long the machine has run to when the capture was begun, so one
/// that is begun while it runs is that much ahead. But the last packet was
/// written when it came.
fn ahead(path: &Path) -> Option<i64> {
    let mut file = std::fs::File::open(path).ok()?;
    let written = file.metadata().ok()?.modified().ok()?;
    let written = written.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut reader = BufReader::with_capacity(1 << 20, &mut file);
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).ok()?;
    let mut last = None;
    let mut packet = [0; PACKET];
    while reader.read_exact(&mut packet).is_ok() {
        let number = |at: usize| {
            let bytes = [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
            // as QEMU writes it, by the host's order
            u32::from_ne_bytes(bytes)
        };
        last = Some(i64::from(number(0)));
        reader.seek_relative(i64::from(number(8))).ok()?;
    }
    Some(last? - i64::try_from(written).ok()?)
}

/// Begins a new file if the capture has become long. That it can't is no
/// failure of anything else.
pub fn bound(lab: &LabPaths) {
    let _ = rotate(lab, LIMIT);
}

/// Begins a new file if the capture is longer than `limit` bytes, or if there is
/// none (whoever rotated last was killed half-way); true if it did.
pub fn rotate(lab: &LabPaths, limit: u64) -> anyhow::Result<bool> {
    let vm = lab.vm("server");
    let path = vm.pcap();
    let due = || !std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= limit);
    if !due() || !matches!(State::of(&vm)?, State::Running(_)) {
        return Ok(false);
    }
    let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(2))?;
    // QEMU hears one at a time: another one may have just done it
    if !due() {
        return Ok(false);
    }
    match qmp.execute("object-del", json!({ "id": "capture" })) {
        // one that was interrupted in between left none
        Ok(_) | Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    fsutil::keep_last(&path)?;
    qmp.execute(
        "object-add",
        json!({
            "qom-type": "filter-dump", "id": "capture", "netdev": "lab",
            "file": "lab.pcap", "maxlen": 600,
        }),
    )?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packet_was_written_when_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.pcap");
        assert_eq!(ahead(&path), None);
        let now = std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap();
        let seconds = u32::try_from(now.as_secs()).unwrap();
        let mut bytes = vec![0; HEAD];
        fs_err::write(&path, &bytes).unwrap();
        assert_eq!(ahead(&path), None, "it has no packet");
        for (time, length) in [(seconds + 100, 60), (seconds + 600, 3)] {
            for number in [time, 0, length, length] {
                bytes.extend_from_slice(&u32::to_ne_bytes(number));
            }
            bytes.resize(bytes.len() + length as usize, 0xff);
        }
        fs_err::write(&path, &bytes).unwrap();
        assert!((599..=601).contains(&ahead(&path).unwrap()));
    }
}
