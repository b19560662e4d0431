//! What a machine's events and console mean for the one who waits for it.

use std::io::Write;
use std::time::{Duration, Instant};

use protocol::{Event, MachineState, Stage};

use super::kind::WatchKind;
use super::point::Point;
use super::say::Say;
use super::serial::Meaning;
use super::track::{Step, Track};

/// An installed machine that has asked who logs in, and says nothing more for
/// so long, is up.
pub(super) const SETTLED: Duration = Duration::from_secs(60);

/// Why the wait is over without a ready machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) kind: WatchKind,
    /// What is told first.
    pub(super) text: String,
    /// Something to do about it that is no usual cause's.
    pub(super) hint: Option<String>,
}

/// Follows one machine.
pub(super) struct Follower {
    pub(super) name: String,
    pub(super) track: Track,
    pub(super) moved: Instant,
    /// When the console last said anything.
    pub(super) heard: Instant,
    pub(super) trouble: Option<&'static str>,
    pub(super) installed: bool,
    /// The last of bootd's events that the machine's state was looked at after.
    pub(super) seen: u64,
}

impl Follower {
    pub(super) fn new(name: &str, installed: bool, seen: u64) -> Self {
        Self {
            name: name.to_owned(),
            seen,
            track: Track::new(),
            moved: Instant::now(),
            heard: Instant::now(),
            trouble: None,
            installed,
        }
    }

    /// Whether the event is a failure that the machine is past: it came before
    /// its state was looked at, and that did not call for a new beginning. Where
    /// the cause is still there, the machine runs into it again, and says so again.
    pub(super) fn is_past(&self, event: &Event) -> bool {
        matches!(event.stage, Stage::Failed | Stage::Template) && event.seq <= self.seen
    }

    /// Takes an event; true if the machine is ready. `offset` is how much of
    /// the console's log was read before.
    pub(super) fn event<W: Write>(
        &mut self,
        event: &Event,
        offset: u64,
        say: &mut Say<W>,
    ) -> Result<bool, Stop> {
        let mut message = event.message.clone().unwrap_or_default();
        if event.stage == Stage::Failed && message.is_empty() {
            "it gave no reason".clone_into(&mut message);
        }
        match event.stage {
            // its installation was over before: the machine is there to be used, and repaired
            Stage::Failed if event.state == Some(MachineState::Ready) => {
                let step = self.track.event(Point::Ready, offset);
                self.step(step, Point::Ready, say);
                say.stage(&format!(
                    "ready, but: {message}; its disk stays as it is (make reprovision VM={} installs it anew)",
                    self.name
                ));
            }
            Stage::Failed | Stage::Template if self.is_past(event) => {}
            Stage::Failed => return Err(self.failed(&message)),
            Stage::Template => return Err(self.template(&message)),
            stage => {
                let Some(point) = Point::of(stage) else {
                    return Ok(false);
                };
                if let (Stage::Streaming, Some(progress)) = (stage, event.progress) {
                    self.moved = Instant::now();
                    say.progress(progress);
                }
                let step = self.track.event(point, offset);
                self.step(step, point, say);
                if point == Point::Ready && !message.is_empty() {
                    say.stage(&format!("ready, but: {message}"));
                }
            }
        }
        Ok(self.is_up())
    }

    /// Takes what the console says at `offset`; true if the machine is ready.
    pub(super) fn console<W: Write>(
        &mut self,
        meaning: Meaning,
        offset: u64,
        say: &mut Say<W>,
    ) -> Result<bool, Stop> {
        match meaning {
            Meaning::Reached(point) => {
                let step = self.track.console(point, offset);
                self.step(step, point, say);
            }
            Meaning::Trouble(what) => {
                self.trouble = Some(what);
                say.stage(what);
            }
            Meaning::Fatal(what) => {
                let before = self
                    .trouble
                    .map(|trouble| format!(" ({trouble} before that)"));
                return Err(self.failed(&format!("{what}{}", before.unwrap_or_default())));
            }
        }
        Ok(self.is_up())
    }

    /// Whether the wait is over. A machine that only boots what is installed
    /// says that it is ready too; but somebody may have removed what says so.
    pub(super) fn is_up(&self) -> bool {
        let at = self.track.at;
        let settled = self.installed && at >= Point::Login && self.moved.elapsed() >= SETTLED;
        at == Point::Ready || settled
    }

    /// What to say of a machine that is up and did not report; none if it did.
    pub(super) fn unreported(&self) -> Option<String> {
        (self.track.at != Point::Ready).then(|| {
            format!(
                "is up, but did not report: it may have no network. Look further: make console VM={}",
                self.name
            )
        })
    }

    fn step<W: Write>(&mut self, step: Step, point: Point, say: &mut Say<W>) {
        if step == Step::Stays {
            return;
        }
        self.moved = Instant::now();
        match step {
            Step::Stays => {}
            Step::SecondKernel => say.stage("kernel of the installed system starts"),
            Step::StartsOver | Step::Reached => {
                if step == Step::StartsOver {
                    say.stage("starts over");
                }
                self.trouble = None;
                say.stage(point.about().title);
            }
        }
    }

    pub(super) fn check_time(&self) -> Result<(), Stop> {
        let waited = self.moved.elapsed();
        if !self.track.at.stands_still(waited, self.heard.elapsed()) {
            return Ok(());
        }
        let trouble = self
            .trouble
            .map(|what| format!("; since then {what}"))
            .unwrap_or_default();
        Err(Stop {
            kind: WatchKind::StandsStill,
            text: format!(
                "{} stands still: last stage `{}`, {} s ago{trouble}",
                self.name,
                self.last(),
                waited.as_secs()
            ),
            hint: None,
        })
    }

    /// The last stage, for people.
    pub(super) fn last(&self) -> &'static str {
        self.track.at.about().title
    }

    fn failed(&self, message: &str) -> Stop {
        Stop {
            kind: WatchKind::Failed,
            text: format!("{} failed after `{}`: {message}", self.name, self.last()),
            hint: None,
        }
    }

    fn template(&self, message: &str) -> Stop {
        Stop {
            kind: WatchKind::Template,
            text: format!("the server can't answer {}: {message}", self.name),
            hint: None,
        }
    }
}
