//! What people read while tasks run. All of it goes to standard error.

pub mod voice;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::units::human;
use crate::runlog::time::span;

/// A run shorter than this is not worth a line when it is done.
const WORTH_TELLING: u64 = 1000;
/// Plain progress lines come at most so often, or when a tenth more is done.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// How much is said, and how.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a way of speaking")]
pub struct Say {
    /// Of hits too.
    pub verbose: bool,
    /// Only of failures.
    pub silent: bool,
    /// Colours.
    pub color: bool,
    /// Bars; plain lines if not.
    pub bars: bool,
    /// What a task prints comes in one piece, when it is done.
    pub group: bool,
}

/// Whether colours are wanted on a terminal, if it is one.
pub fn colors(terminal: bool) -> bool {
    terminal
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

impl Say {
    /// For this terminal and this Make.
    pub fn new(verbose: bool, silent: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let parallel =
            std::env::var("MAKEFLAGS").is_ok_and(|f| f.contains("jobserver") || f.contains("-j"));
        Self {
            verbose,
            silent,
            color: colors(terminal),
            bars: terminal && !parallel,
            group: false,
        }
    }

    fn formatted(self, task: &str, color: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{color}m{task}\x1b[0m: {text}\n")
        } else {
            format!("{task}: {text}\n")
        }
    }

    /// One line, whole: lines of parallel tasks don't mix.
    fn line(self, task: &str, color: &str, text: &str) {
        voice::speak(&self.formatted(task, color, text));
    }

    /// A task runs, and why.
    pub fn miss(&self, task: &str, why: &str) {
        if !self.silent {
            self.line(task, "1;33", why);
        }
    }

    /// A task's outputs came from the store.
    pub fn hit(&self, task: &str, why: &str) {
        if self.verbose {
            self.line(task, "32", &format!("restored ({why})"));
        }
    }

    /// Nothing was to be done.
    pub fn fresh(&self, task: &str) {
        if self.verbose {
            self.line(task, "32", "up to date");
        }
    }

    /// A task is done.
    pub fn done(&self, task: &str, took: u64) {
        if !self.silent && (took >= WORTH_TELLING || self.verbose) {
            self.line(task, "32", &format!("done in {}", span(took)));
        }
    }

    /// Something worth knowing.
    pub fn note(&self, task: &str, text: &str) {
        if !self.silent {
            self.line(task, "36", text);
        }
    }

    /// What would be done (`-n`).
    pub fn would(&self, task: &str, text: &str) {
        self.line(task, "33", text);
    }

    /// What a task prints while it runs.
    pub fn live(&self, task: &str, show: bool) -> Live {
        Live {
            say: *self,
            task: task.to_owned(),
            show: (show || self.verbose) && !self.silent,
            started: Instant::now(),
            bar: None,
            told: None,
            held: String::new(),
        }
    }
}

/// Shows a task's stages, progress and, if asked for, its output.
#[derive(Debug)]
pub struct Live {
    say: Say,
    task: String,
    show: bool,
    started: Instant,
    bar: Option<ProgressBar>,
    told: Option<(Instant, u64)>,
    held: String,
}

impl Live {
    /// A line that the task printed.
    pub fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("::progress ") {
            let mut words = rest.splitn(4, ' ');
            let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
            if let (Some(done), Some(total)) = (number(), number()) {
                let unit = words.next().unwrap_or("").to_owned();
                self.progress(done, total, &unit, words.next().unwrap_or(""));
                return;
            }
        }
        if let Some(stage) = line.strip_prefix("::stage ") {
            if !self.say.silent {
                let elapsed = span(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0));
                self.print(&format!("[{elapsed}] {stage}"));
            }
        } else if self.show {
            self.print(line);
        }
    }

    fn print(&mut self, text: &str) {
        if self.say.group {
            self.held += &self.say.formatted(&self.task, "36", text);
            return;
        }
        let say = || self.say.line(&self.task, "36", text);
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// `done` of `total` (0 if that is not known).
    pub fn progress(&mut self, done: u64, total: u64, unit: &str, text: &str) {
        if self.say.silent {
            return;
        }
        if self.say.bars && !self.say.group {
            let bar = self.bar.get_or_insert_with(|| bar(&self.task, unit, total));
            bar.set_length(total.max(done));
            bar.set_position(done);
            bar.set_message(text.to_owned());
            return;
        }
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
        let now = Instant::now();
        let due = match self.told {
            // short ones pass in silence
            None => {
                self.told = Some((now, 0));
                false
            }
            Some((at, then)) => {
                let tenth = percent / 10 > then / 10 && now - at > Duration::from_millis(500);
                tenth || now - at >= PLAIN_EVERY
            }
        };
        if due {
            self.told = Some((now, percent));
            let amount = |n: u64| {
                if unit == "bytes" {
                    human(n)
                } else {
                    format!("{n} {unit}")
                }
            };
            let of = if total == 0 {
                String::new()
            } else {
                format!("{percent} % of {}", amount(total))
            };
            let of = if of.is_empty() { amount(done) } else { of };
            self.print(format!("{of} {text}").trim_end());
        }
    }

    /// The task ended.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.held.is_empty() {
            voice::speak(&std::mem::take(&mut self.held));
        }
    }
}

fn bar(task: &str, unit: &str, total: u64) -> ProgressBar {
    let template = if unit == "bytes" {
        "{prefix}: {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}"
    } else {
        "{prefix}: {wide_bar} {pos}/{len} {eta} {msg}"
    };
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(task.to_owned());
    bar
}
