//! Where a machine stands, for one who looks in from time to time and does
//! not follow it: from its console's log and what bootd knows.

use std::time::{Duration, UNIX_EPOCH};

use protocol::MachineStatus;

use super::point::Point;
use super::serial::{Console, Meaning};
use super::times::{marks, time_of};
use super::track::Track;
use crate::diagnose::{self, Line, Source};
use crate::state::VmPaths;

/// How many of the console's last lines are looked at for a cause.
const LINES: usize = 300;

/// Where it stands.
#[derive(Debug)]
pub(crate) struct Stand {
    /// The last point that it reached.
    pub(crate) at: Point,
    /// When, in milliseconds since 1970.
    pub(crate) since: u64,
    /// Whether it has been there for longer than it ever should.
    pub(crate) still: bool,
    /// What went wrong there last, by its console.
    pub(crate) trouble: Option<&'static str>,
    /// What may show why.
    pub(crate) lines: Vec<Line>,
}

/// Where the VM that was started at `started` stands at `now`, both in
/// milliseconds since 1970.
pub(crate) fn stand(
    vm: &VmPaths,
    machine: Option<&MachineStatus>,
    started: u64,
    now: u64,
) -> Stand {
    let log = vm.serial_log();
    let mut console = Console::open(&log);
    let mut track = Track::new();
    let mut trouble = None;
    for seen in console.read() {
        match seen.meaning {
            Meaning::Reached(point) => {
                let before = track;
                track.console(point, seen.at);
                if track != before {
                    trouble = None;
                }
            }
            Meaning::Trouble(what) | Meaning::Fatal(what) => trouble = Some(what),
        }
    }
    let mut since = started;
    if track.at > Point::PowerOn {
        since = time_of(&marks(&log), track.from).unwrap_or(console.written());
    }
    let known = machine.and_then(|machine| {
        let point = machine.stage.and_then(Point::of)?;
        // of this start: what was before it is no step of this one
        let time = machine.time.filter(|time| *time >= started)?;
        Some((point, time))
    });
    if let Some((point, time)) = known
        && point >= track.at
    {
        track.at = point;
        since = since.max(time);
    }
    let mut lines = diagnose::last_lines(&log, track.from, LINES);
    lines.extend(machine.into_iter().flat_map(told));
    let ago = |time: u64| Duration::from_millis(now.saturating_sub(time));
    let written = std::fs::metadata(&log)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(UNIX_EPOCH);
    let silent = ago(super::times::milliseconds(written));
    Stand {
        at: track.at,
        since,
        still: track.at.stands_still(ago(since), silent),
        trouble,
        lines,
    }
}

/// What bootd knows, as the lines of events that it was told by.
fn told(machine: &MachineStatus) -> Vec<Line> {
    let event = |stage: &str, text: &str| Line::new(Source::Bootd, format!("{stage}: {text}"));
    let last = machine
        .stage
        .zip(machine.message.as_deref())
        .map(|(stage, message)| event(stage.as_str(), message));
    let template = machine
        .template_error
        .as_deref()
        .map(|error| event("template", error));
    last.into_iter().chain(template).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{MachineState, Stage};

    use super::*;
    use crate::state::LabPaths;

    fn machine(stage: Stage, time: u64) -> MachineStatus {
        MachineStatus {
            name: "target1".to_owned(),
            mac: "52:54:00:4c:42:01".parse().unwrap(),
            hostname: "target1".to_owned(),
            state: MachineState::Installing,
            stage: Some(stage),
            time: Some(time),
            message: Some("why".to_owned()),
            progress: None,
            template_error: None,
            instance_id: String::new(),
        }
    }

    #[test]
    fn what_came_later_counts_and_only_what_is_after_it_is_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let vm = LabPaths::new(dir.path(), "lab").unwrap().vm("target1");
        fs_err::create_dir_all(vm.dir()).unwrap();
        let text = "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\": Not Found\r\n>>Start PXE over IPv4.\r\n  PXE-E18: Server response timeout.\r\n";
        fs_err::write(vm.serial_log(), text).unwrap();
        let written = super::super::times::milliseconds(
            fs_err::metadata(vm.serial_log())
                .unwrap()
                .modified()
                .unwrap(),
        );
        let now = written + 10_000;
        let alone = stand(&vm, None, written - 9000, now);
        assert_eq!((alone.at, alone.since), (Point::NetworkBoot, written));
        assert!(!alone.still);
        assert!(alone.trouble.is_some());
        let shown: Vec<_> = alone.lines.iter().map(|line| &*line.text).collect();
        assert_eq!(
            shown,
            [
                ">>Start PXE over IPv4.",
                "PXE-E18: Server response timeout."
            ]
        );
        assert!(stand(&vm, None, 0, written + 600_000).still);

        let before = machine(Stage::Streaming, written - 60_000);
        let stands = stand(&vm, Some(&before), written - 9000, now);
        assert_eq!(stands.at, Point::NetworkBoot, "it is of another start");
        let after = machine(Stage::Streaming, written + 1000);
        let stands = stand(&vm, Some(&after), written - 9000, now);
        assert_eq!(
            (stands.at, stands.since),
            (Point::Streaming, written + 1000)
        );
        assert_eq!(stands.lines.last().unwrap().text, "streaming: why");
    }
}
