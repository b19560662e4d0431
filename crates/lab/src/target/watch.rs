//! Following a machine by bootd's events and its serial console until it is
//! ready, has failed, or stands still.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use protocol::{Event, Mac, Stage};

use super::bootd::{Bootd, BootdError};
use super::point::Point;
use super::say::Say;
use super::serial::{Console, Meaning};
use crate::state::VmPaths;
use crate::vm::{State, last_lines};

/// How long bootd may be silent before the watch gives up: the server may be
/// taking a new site or content disk.
const SILENCE: Duration = Duration::from_secs(60);

/// A console that has said nothing for so long is silent.
const QUIET: Duration = Duration::from_secs(60);

/// What is followed, and from where.
pub(super) struct Watch<'a> {
    pub(super) vm: &'a VmPaths,
    pub(super) mac: Mac,
    pub(super) bootd: &'a Bootd,
    /// The last of bootd's events that is of no interest.
    pub(super) since: u64,
    /// Whether it only has to boot what is installed.
    pub(super) installed: bool,
    pub(super) console: Console,
}

/// Which kind of end a machine came to that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// It said so itself, or its console did.
    Failed,
    /// It takes longer than it ever should.
    StandsStill,
    /// Its QEMU is gone.
    Gone,
    /// The server does not answer any more.
    NoServer,
    /// bootd can't render what the machine needs.
    Template,
    /// The state folder can't be read.
    State,
}

/// Why a machine did not become ready.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct WatchError {
    /// Which kind.
    pub kind: WatchKind,
    text: String,
}

impl WatchError {
    fn new(kind: WatchKind, text: String) -> Self {
        Self { kind, text }
    }
}

/// Follows the machine; returns when it is ready.
pub(super) fn follow<W: Write>(watch: Watch<'_>, say: &mut Say<W>) -> Result<(), WatchError> {
    let name = watch
        .vm
        .dir()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut follower = Follower {
        name,
        at: Point::PowerOn,
        moved: Instant::now(),
        heard: Instant::now(),
        trouble: None,
        installed: watch.installed,
        log: watch.vm.serial_log(),
    };
    let Watch {
        vm,
        mac,
        bootd,
        mut since,
        mut console,
        ..
    } = watch;
    let mut answered = Instant::now();
    loop {
        match bootd.events(since, 1) {
            Ok(page) => {
                answered = Instant::now();
                since = page.next;
                for event in page.events.iter().filter(|event| event.mac == Some(mac)) {
                    if follower.event(event, say)? {
                        return Ok(());
                    }
                }
            }
            Err(source) if answered.elapsed() >= SILENCE => {
                return Err(follower.no_server(&source));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
        let meanings = console.read();
        follower.heard = console.heard();
        for meaning in meanings {
            if follower.console(meaning, say)? {
                return Ok(());
            }
        }
        match State::of(vm) {
            Ok(State::Running(_)) => follower.check_time()?,
            Ok(State::Died(_) | State::Stopped) => return Err(follower.gone(vm)),
            Err(error) => return Err(WatchError::new(WatchKind::State, format!("{error:#}"))),
        }
    }
}

struct Follower {
    name: String,
    at: Point,
    moved: Instant,
    /// When the console last said anything.
    heard: Instant,
    trouble: Option<&'static str>,
    installed: bool,
    log: PathBuf,
}

impl Follower {
    /// Takes an event; true if the machine is ready.
    fn event<W: Write>(&mut self, event: &Event, say: &mut Say<W>) -> Result<bool, WatchError> {
        let message = event.message.clone().unwrap_or_default();
        match event.stage {
            Stage::Failed => {
                let message = if message.is_empty() {
                    "it gave no reason".to_owned()
                } else {
                    message
                };
                return Err(self.failed(&message));
            }
            Stage::Template => return Err(self.template(&message)),
            stage => {
                let Some(point) = Point::of(stage) else {
                    return Ok(false);
                };
                if let (Stage::Streaming, Some(progress)) = (stage, event.progress) {
                    self.moved = Instant::now();
                    say.progress(progress);
                }
                // A script served once more: the machine has started over.
                if point == Point::Script && self.at > Point::Script {
                    say.stage("starts over");
                    self.at = Point::Ipxe;
                }
                self.reach(point, say);
                if point == Point::Ready && !message.is_empty() {
                    say.stage(&format!("ready, but: {message}"));
                }
            }
        }
        Ok(self.at == Point::Ready || (self.installed && self.at >= Point::Booted))
    }

    /// Takes what the console says; true if the machine is ready.
    fn console<W: Write>(
        &mut self,
        meaning: Meaning,
        say: &mut Say<W>,
    ) -> Result<bool, WatchError> {
        match meaning {
            Meaning::Reached(point) => {
                if point == Point::Firmware && (Point::Script..Point::Rebooting).contains(&self.at)
                {
                    say.stage("starts over");
                    self.at = Point::PowerOn;
                }
                if point == Point::Kernel && self.at >= Point::Rebooting {
                    say.stage("kernel of the installed system starts");
                    self.moved = Instant::now();
                } else {
                    self.reach(point, say);
                }
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
        Ok(self.installed && self.at >= Point::Booted)
    }

    fn reach<W: Write>(&mut self, point: Point, say: &mut Say<W>) {
        if point > self.at {
            self.at = point;
            self.moved = Instant::now();
            self.trouble = None;
            say.stage(point.about().title);
        }
    }

    fn check_time(&self) -> Result<(), WatchError> {
        let about = self.at.about();
        let waited = self.moved.elapsed();
        // On a busy host everything takes longer; a console that talks shows
        // that it goes on. But one that repeats itself for ever goes nowhere.
        let talks = self.heard.elapsed() < QUIET && waited < 3 * about.limit();
        if waited < about.limit() || talks {
            return Ok(());
        }
        let trouble = self
            .trouble
            .map(|what| format!("; since then {what}"))
            .unwrap_or_default();
        Err(WatchError::new(
            WatchKind::StandsStill,
            format!(
                "{} stands still: last stage `{}`, {} s ago{trouble}\n  usual cause: {}\n  where to look: {}\n  its console: {}",
                self.name,
                about.title,
                waited.as_secs(),
                about.cause,
                about.look,
                self.log.display()
            ),
        ))
    }

    fn failed(&self, message: &str) -> WatchError {
        let (name, last) = (&self.name, self.at.about().title);
        let log = self.log.display();
        WatchError::new(
            WatchKind::Failed,
            format!("{name} failed after `{last}`: {message}\n  its console: {log}"),
        )
    }

    fn template(&self, message: &str) -> WatchError {
        let text = format!(
            "the server can't answer {}: {message}\n  correct the template or lab.toml and run `make up` again",
            self.name
        );
        WatchError::new(WatchKind::Template, text)
    }

    fn no_server(&self, source: &BootdError) -> WatchError {
        let (name, last) = (&self.name, self.at.about().title);
        let text = format!(
            "the server has not answered for {} s while {name} came up (last stage `{last}`): {source}",
            SILENCE.as_secs()
        );
        WatchError::new(WatchKind::NoServer, text)
    }

    fn gone(&self, vm: &VmPaths) -> WatchError {
        let said = last_lines(&vm.qemu_log(), 4);
        let said = if said.is_empty() {
            said
        } else {
            format!("\n  QEMU said: {said}")
        };
        let (name, last) = (&self.name, self.at.about().title);
        let text = format!(
            "the QEMU of {name} is gone (last stage `{last}`){said}\n  `make up` starts it again"
        );
        WatchError::new(WatchKind::Gone, text)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
