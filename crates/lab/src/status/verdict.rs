//! What is wrong with a target, if anything is, and what usually causes that.

use protocol::{MachineState, MachineStatus};

use super::look::VmStatus;
use crate::diagnose::{self, Names, Saved};
use crate::state::LabPaths;
use crate::target::{Stand, WatchKind};

/// Whatever is up and well.
pub(super) const READY: u8 = 0;
/// Nothing is wrong, but not all is up, or not yet.
pub(super) const NOT_UP: u8 = 3;

/// Clocks of host and server may differ by this much, in milliseconds.
const CLOCKS: u64 = 5000;

/// Fills in what is wrong.
pub(super) fn judge(
    lab: &LabPaths,
    status: &mut VmStatus,
    known: Option<&MachineStatus>,
    stand: Option<&Stand>,
) {
    let name = status.name.clone();
    let names = Names {
        lab: lab.name(),
        vm: &name,
    };
    let state = known.map(|known| known.state);
    let runs = status.state == "running";
    if runs && state == Some(MachineState::Ready) {
        status.exit = READY;
        let degraded = known
            .and_then(|known| known.message.as_ref())
            .filter(|message| !message.is_empty());
        if let (Some(message), Some(stand)) = (degraded, stand) {
            status.trouble = Some(format!("ready, but: {message}"));
            let told: Vec<_> = stand.lines.iter().rev().take(1).cloned().collect();
            status.diagnosis = diagnose::diagnose(stand.at.about().id, &told, names);
        }
        return;
    }
    status.exit = NOT_UP;
    let last = Saved::read(&lab.vm(&name)).filter(|saved| {
        let moved = stand.filter(|_| runs).map_or(0, |stand| stand.since);
        saved.time + CLOCKS >= moved
    });
    if let Some(saved) = last {
        // it was followed then, and the server's logs were looked at
        let head = saved.text.lines().next().unwrap_or_default();
        let head = head.strip_prefix(&format!("{name} ")).unwrap_or(head);
        status.trouble = Some(head.to_owned());
        status.kind = Some(saved.kind);
        status.exit = saved.exit;
        status.diagnosis = saved.diagnosis;
        return;
    }
    let Some(stand) = stand else {
        if status.state == "died" {
            fail(status, WatchKind::Gone, None);
        }
        return;
    };
    let title = stand.at.about().title;
    let diagnosis = || diagnose::diagnose(stand.at.about().id, &stand.lines, names);
    if let Some(known) = known.filter(|known| known.state == MachineState::Failed) {
        let message = known.message.as_deref().unwrap_or("it gave no reason");
        let text = format!("failed after `{title}`: {message}");
        fail(status, WatchKind::Failed, Some(text));
        status.diagnosis = diagnosis();
    } else if let Some(error) = known.and_then(|known| known.template_error.as_ref()) {
        let text = format!("the server can't answer it: {error}");
        fail(status, WatchKind::Template, Some(text));
        status.diagnosis = diagnosis();
    } else if status.state == "died" {
        fail(status, WatchKind::Gone, None);
    } else if runs && stand.still {
        let seconds = status.waited.unwrap_or(0);
        let trouble = stand
            .trouble
            .map(|what| format!("; since then {what}"))
            .unwrap_or_default();
        let text = format!("stands still: last stage `{title}`, {seconds} s ago{trouble}");
        fail(status, WatchKind::StandsStill, Some(text));
        status.diagnosis = diagnosis();
    } else if let Some(what) = stand.trouble.filter(|_| runs) {
        // it may go on in another way, so it is no failure yet
        let seconds = status.waited.unwrap_or(0);
        status.trouble = Some(format!(
            "not up yet: last stage `{title}`, {seconds} s ago; since then {what}"
        ));
        status.diagnosis = diagnosis();
    }
}

/// Says of a VM that lab.toml lists no more that it still runs, if it does.
/// Nobody waits for it, so nothing that is wrong with it counts.
pub(super) fn unlisted(lab: &LabPaths, status: &mut VmStatus) {
    let runs = matches!(status.state, "running" | "held");
    let what = format!(
        "lab.toml lists it no more, and it still runs and takes its memory: `build/bin/lab vm stop --lab {} {}` stops it, as `make down` does with all",
        lab.name(),
        status.name
    );
    status.trouble = runs.then_some(what);
    status.diagnosis = None;
    status.kind = None;
    status.exit = READY;
    status.unlisted = true;
}

/// Takes over why the server's last `up` failed, if it did since its start.
pub(super) fn recall(lab: &LabPaths, status: &mut VmStatus) -> bool {
    let last = Saved::read(&lab.vm(&status.name));
    let Some(saved) = last.filter(|saved| status.started.is_some_and(|then| saved.time >= then))
    else {
        return false;
    };
    let head = saved.text.lines().next().unwrap_or_default();
    status.trouble = Some(head.to_owned());
    status.kind = Some(saved.kind);
    status.exit = saved.exit;
    status.diagnosis = saved.diagnosis;
    true
}

/// Notes a failure of this kind; the trouble stays what it is if `text` is none.
pub(super) fn fail(status: &mut VmStatus, kind: WatchKind, text: Option<String>) {
    status.kind = Some(kind.as_str().to_owned());
    status.exit = kind.exit();
    if let Some(text) = text {
        status.trouble = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_left_lab_toml_is_named_if_it_runs_and_counts_for_nothing() {
        let lab = LabPaths::new("labs".as_ref(), "b").unwrap();
        let of = |state| {
            let mut status = VmStatus {
                name: "target2".to_owned(),
                state,
                exit: NOT_UP,
                ..VmStatus::default()
            };
            unlisted(&lab, &mut status);
            assert_eq!(status.exit, READY);
            status.trouble
        };
        let told = of("running").unwrap();
        assert!(told.contains("lab vm stop --lab b target2"), "{told}");
        assert_eq!(of("stopped"), None);
        assert_eq!(of("suspended"), None);
    }
}
