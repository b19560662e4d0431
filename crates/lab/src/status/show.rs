//! The table for people.

use std::fmt::Write as _;

use protocol::{MachineState, Stage};

use super::look::{Status, VmStatus};

/// All VMs, a line each. `now` is in milliseconds since 1970.
pub(super) fn table(status: &Status, now: u64) -> String {
    let rows = status.vms.iter().map(|vm| {
        [
            vm.name.clone(),
            vm.state.to_owned(),
            vm.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            vm.started
                .map_or("-".to_owned(), |then| ago(now.saturating_sub(then))),
            reached(vm),
            stands(vm),
            vm.waited
                .map_or("-".to_owned(), |seconds| ago(seconds * 1000)),
        ]
    });
    columns(
        ["VM", "STATE", "PID", "UP", "ADDRESS", "STAGE", "SINCE"],
        rows,
    )
}

/// How to get into each VM, and which of them nobody asks for any more.
pub(super) fn summary(status: &Status) -> String {
    let rows = status
        .vms
        .iter()
        .filter(|vm| vm.state == "running" && !vm.unlisted)
        .map(|vm| {
            let lab = if status.lab == "lab" {
                String::new()
            } else {
                format!(" LAB={}", status.lab)
            };
            let how = format!("make ssh VM={0}{lab}   make console VM={0}{lab}", vm.name);
            [vm.name.clone(), reached(vm), stands(vm), how]
        });
    let mut text = columns(["VM", "ADDRESS", "STAGE", "HOW TO GET IN"], rows);
    for vm in status.vms.iter().filter(|vm| vm.unlisted) {
        if let Some(trouble) = &vm.trouble {
            let _ = write!(text, "\n{}: {trouble}\n", vm.name);
        }
    }
    text
}

/// What is wrong, if anything is.
pub(super) fn troubles(status: &Status) -> String {
    let mut text = String::new();
    for vm in &status.vms {
        if let Some(trouble) = &vm.trouble {
            let _ = write!(text, "\n{}: {trouble}\n", vm.name);
            if let Some(diagnosis) = &vm.diagnosis {
                let _ = writeln!(text, "{diagnosis}");
            }
            if let Some(console) = &vm.console {
                let _ = writeln!(text, "  its console: {console}");
            }
        }
    }
    text
}

fn reached(vm: &VmStatus) -> String {
    match (&vm.address, vm.ssh, vm.http) {
        (Some(address), Some(ssh), Some(http)) => format!("{address} ssh {ssh} http {http}"),
        (Some(address), ..) => address.clone(),
        (None, ..) => "-".to_owned(),
    }
}

/// How far it is, as short as it can be said.
pub(super) fn stands(vm: &VmStatus) -> String {
    let Some(machine) = &vm.machine else {
        return match vm.answers {
            Some(true) => "ready".to_owned(),
            Some(false) => "no answer".to_owned(),
            None => vm.stage.unwrap_or("-").to_owned(),
        };
    };
    let mut text = machine.state.to_string();
    // what the console shows is finer than bootd's stages
    let at = match machine.state {
        MachineState::Ready => None,
        _ => vm.stage.or(machine.stage.map(Stage::as_str)),
    };
    if let Some(at) = at.filter(|at| *at != machine.state.as_str()) {
        let _ = write!(text, ", {at}");
    }
    let Some(progress) = machine.progress else {
        return text;
    };
    match progress.total.filter(|total| *total > 0) {
        // Both fit in 64 bits: images are far smaller than 2^57 bytes.
        Some(total) => {
            let done = progress.done.saturating_mul(100) / total;
            let _ = write!(text, " {done}% of {} MiB", total >> 20);
        }
        None => {
            let _ = write!(text, " {} MiB", progress.done >> 20);
        }
    }
    if let Some(rate) = machine.rate {
        let tenths = rate.bytes_per_second.saturating_mul(10) >> 20;
        let _ = write!(text, ", {}.{} MiB/s", tenths / 10, tenths % 10);
        if let Some(left) = rate.seconds_left {
            let _ = write!(text, ", {} left", ago(left * 1000));
        }
    }
    text
}

fn ago(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        s => format!("{}d{}h", s / 86400, s % 86400 / 3600),
    }
}

/// Columns as wide as what is in them; the last one ends its line.
fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut written = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(written, "{cell:width$}  ");
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::Progress;

    use super::super::look::Machine;
    use super::super::rate::Rate;
    use super::*;
    use crate::diagnose::{Diagnosis, Line, Source};

    fn sample() -> Status {
        let server = VmStatus {
            name: "server".to_owned(),
            state: "running",
            pid: Some(4711),
            started: Some(1_000_000),
            address: Some("127.0.0.1".to_owned()),
            ssh: Some(40795),
            http: Some(38409),
            answers: Some(true),
            ..VmStatus::default()
        };
        let streaming = VmStatus {
            name: "target1".to_owned(),
            state: "running",
            pid: Some(4712),
            started: Some(1_100_000),
            machine: Some(Machine {
                state: MachineState::Installing,
                stage: Some(Stage::Streaming),
                time: Some(1),
                progress: Some(Progress {
                    done: 50 << 20,
                    total: Some(200 << 20),
                }),
                rate: Some(Rate {
                    bytes_per_second: 5 << 20,
                    seconds_left: Some(30),
                }),
                message: None,
            }),
            stage: Some("streaming"),
            waited: Some(1),
            exit: 3,
            ..VmStatus::default()
        };
        let failed = VmStatus {
            name: "target2".to_owned(),
            state: "died",
            trouble: Some("failed after `plan served`: digest mismatch".to_owned()),
            console: Some("build/labs/b/vm/target2/serial.log".to_owned()),
            machine: Some(Machine {
                state: MachineState::Failed,
                stage: Some(Stage::Failed),
                time: Some(1),
                progress: None,
                rate: None,
                message: None,
            }),
            exit: 10,
            kind: Some("failed".to_owned()),
            diagnosis: Some(Diagnosis {
                id: "digest-mismatch".to_owned(),
                cause: "the image is another one".to_owned(),
                shown_by: Some(Line::new(Source::Bootd, "failed: digest mismatch")),
                look: "make up LAB=b".to_owned(),
            }),
            ..VmStatus::default()
        };
        let new = VmStatus {
            name: "target3".to_owned(),
            state: "stopped",
            ..VmStatus::default()
        };
        let left = VmStatus {
            name: "target4".to_owned(),
            state: "running",
            pid: Some(4713),
            started: Some(1_200_000),
            stage: Some("login"),
            waited: Some(90),
            trouble: Some("lab.toml lists it no more, and it still runs".to_owned()),
            unlisted: true,
            ..VmStatus::default()
        };
        Status {
            lab: "b".to_owned(),
            exit: 10,
            vms: vec![server, streaming, failed, new, left],
        }
    }

    #[test]
    fn what_people_see() {
        let status = sample();
        insta::assert_snapshot!(table(&status, 4_700_000));
        insta::assert_snapshot!(troubles(&status));
        insta::assert_snapshot!(summary(&status));
        insta::assert_snapshot!(serde_json::to_string_pretty(&status).unwrap());
    }

    #[test]
    fn times_are_short() {
        assert_eq!(ago(59_999), "59s");
        assert_eq!(ago(60_000), "1m");
        assert_eq!(ago(3_600_000 + 120_000), "1h02m");
        assert_eq!(ago(90_000_000), "1d1h");
    }
}
