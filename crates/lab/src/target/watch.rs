//! Following a machine by bootd's events and its serial console until it is
//! ready, has failed, or stands still; and saying why, if it is not ready.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use protocol::{Mac, Stage};

use super::bootd::{Bootd, BootdError};
use super::doubt::Doubt;
use super::follower::{Follower, Stop};
use super::kind::{WatchError, WatchKind};
use super::point::Point;
use super::say::Say;
use super::serial::{Console, Meaning};
use super::times::milliseconds;
use crate::capture;
use crate::diagnose::{self, Line, Names};
use crate::state::{LabPaths, VmPaths};
use crate::timeline::{self, Entry, Timeline};
use crate::vm::{State, last_lines};

/// How long bootd may be silent before the watch gives up: the server may be
/// taking a new site or content disk.
const SILENCE: Duration = Duration::from_secs(60);

/// How many of the console's last lines are looked at for a cause.
const LINES: usize = 300;

/// What is followed, and from where.
pub(super) struct Watch<'a> {
    pub(super) lab: &'a LabPaths,
    pub(super) vm: &'a VmPaths,
    pub(super) name: &'a str,
    pub(super) mac: Mac,
    pub(super) bootd: &'a Bootd,
    /// The last of bootd's events that is of no interest.
    pub(super) since: u64,
    /// The last of bootd's events before the machine's state was looked at.
    pub(super) seen: u64,
    /// Whether it only has to boot what is installed.
    pub(super) installed: bool,
    /// When the VM was started, in milliseconds since 1970.
    pub(super) started: u64,
}

/// Follows the machine; returns when it is ready.
pub(super) fn follow<W: Write>(watch: &Watch<'_>, say: &mut Say<W>) -> Result<(), WatchError> {
    let mut timeline = Timeline::open(watch.vm);
    timeline.add([Entry::host(
        watch.started,
        Some(Point::PowerOn.about().id),
        Point::PowerOn.about().title,
    )]);
    let mut follower = Follower::new(watch.name, watch.installed, watch.seen);
    let mut told = Vec::new();
    let end = until_end(watch, &mut follower, &mut timeline, &mut told, say);
    // A server that doesn't answer has no logs to give either.
    let logs = match &end {
        Err(stop) if stop.kind == WatchKind::NoServer => Vec::new(),
        _ => timeline::from_server(watch.lab, watch.mac, watch.started).unwrap_or_default(),
    };
    timeline.add(logs.iter().cloned());
    let now = milliseconds(SystemTime::now());
    match end {
        Ok(()) => {
            let what = follower.unreported().unwrap_or_else(|| "ready".to_owned());
            if what != "ready" {
                say.stage(&what);
            }
            timeline.add([Entry::host(now, Some("ready"), &what)]);
            Ok(())
        }
        Err(stop) => {
            timeline.add([Entry::host(now, Some(stop.kind.as_str()), &stop.text)]);
            let mut lines: Vec<Line> = logs
                .into_iter()
                .map(|entry| Line::new(entry.source, entry.text))
                .collect();
            lines.extend(diagnose::last_lines(
                &watch.vm.serial_log(),
                follower.track.from,
                LINES,
            ));
            lines.extend(told);
            let names = Names {
                lab: watch.lab.name(),
                vm: watch.name,
            };
            let log = watch.vm.serial_log().display().to_string();
            Err(explain(stop, follower.track.at, &lines, names, &log))
        }
    }
}

/// Puts together what is told of a machine that is not ready.
pub(super) fn explain(
    stop: Stop,
    at: Point,
    lines: &[Line],
    names: Names<'_>,
    log: &str,
) -> WatchError {
    let Stop { kind, text, hint } = stop;
    let diagnosis = match kind {
        WatchKind::Gone | WatchKind::NoServer | WatchKind::State => None,
        WatchKind::Failed | WatchKind::StandsStill | WatchKind::Template | WatchKind::Service => {
            diagnose::diagnose(at.about().id, lines, names)
        }
    };
    WatchError::new(kind, at.about().id, &text, diagnosis, hint.as_deref(), log)
}

/// The loop: returns without an error when the machine is ready.
fn until_end<W: Write>(
    watch: &Watch<'_>,
    follower: &mut Follower,
    timeline: &mut Timeline,
    told: &mut Vec<Line>,
    say: &mut Say<W>,
) -> Result<(), Stop> {
    let mut console = Console::open_noting(&watch.vm.serial_log());
    let mut since = watch.since;
    let mut answered = Instant::now();
    let mut doubt = Doubt::default();
    loop {
        match watch.bootd.events(since, 1) {
            Ok(page) => {
                answered = Instant::now();
                since = page.next;
                for event in &page.events {
                    // the first script is everyone's, and so is its error
                    if event.mac.is_none() && event.stage == Stage::Template {
                        timeline.add_event(event);
                        if !follower.is_past(event) {
                            told.push(Line::of(event));
                        }
                    }
                    if event.mac != Some(watch.mac) {
                        continue;
                    }
                    timeline.add_event(event);
                    if event.progress.is_none() && !follower.is_past(event) {
                        told.push(Line::of(event));
                    }
                    if follower.event(event, console.offset(), say)? {
                        return Ok(());
                    }
                }
            }
            Err(source) if answered.elapsed() >= SILENCE => {
                return Err(no_server(follower, &source));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
        let seen = console.read();
        follower.heard = console.heard();
        for seen in seen {
            let stage = match seen.meaning {
                Meaning::Reached(point) => Some(point.about().id),
                Meaning::Trouble(_) | Meaning::Fatal(_) => None,
            };
            timeline.add([Entry::serial(
                console.written(),
                stage,
                &seen.line,
                watch.started,
                seen.at,
            )]);
            if follower.console(seen.meaning, seen.at, say)? {
                return Ok(());
            }
        }
        capture::bound(watch.lab);
        match State::of(watch.vm) {
            Ok(State::Running(_)) if follower.is_up() => return Ok(()),
            Ok(State::Running(_)) => {
                follower.check_time()?;
                let waited = follower.moved.elapsed();
                let ask = || {
                    let down = timeline::down(watch.lab).into_iter();
                    down.map(|down| down.line).collect()
                };
                if let Some(line) = doubt.look(follower.track.at, waited, ask) {
                    told.push(line.clone());
                    return Err(in_vain(follower, &line));
                }
            }
            Ok(State::Held(_) | State::Died(_) | State::Stopped) => {
                return Err(gone(follower, watch.vm));
            }
            Err(error) => {
                return Err(Stop {
                    kind: WatchKind::State,
                    text: format!("{error:#}"),
                    hint: None,
                });
            }
        }
    }
}

fn no_server(follower: &Follower, source: &BootdError) -> Stop {
    Stop {
        kind: WatchKind::NoServer,
        text: format!(
            "the server has not answered for {} s while {} came up (last stage `{}`): {source}",
            SILENCE.as_secs(),
            follower.name,
            follower.last()
        ),
        hint: Some("look further: make status; make console VM=server RO=1".to_owned()),
    }
}

fn in_vain(follower: &Follower, down: &Line) -> Stop {
    Stop {
        kind: WatchKind::Service,
        text: format!(
            "{} waits in vain after `{}`: {}",
            follower.name,
            follower.last(),
            down.text
        ),
        hint: None,
    }
}

fn gone(follower: &Follower, vm: &VmPaths) -> Stop {
    let said = last_lines(&vm.qemu_log(), 4);
    let said = if said.is_empty() {
        said
    } else {
        format!("\n  QEMU said: {said}")
    };
    Stop {
        kind: WatchKind::Gone,
        text: format!(
            "the QEMU of {} is gone (last stage `{}`){said}",
            follower.name,
            follower.last()
        ),
        hint: Some("`make up` starts it again".to_owned()),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
