//! What is told while a machine comes up: lines that the task executor
//! renders, or lines for a person.

use std::io::Write;
use std::time::Instant;

use protocol::Progress;

/// Who reads what is told.
#[derive(Debug)]
enum Reader {
    /// The task executor: `::stage` and `::progress`.
    Executor,
    /// A person, who wants to know how long it has taken and not every step of
    /// the progress: since when, and tenths of the image that were told.
    Person(Instant, u64),
}

/// Where stages and progress go.
#[derive(Debug)]
pub(super) struct Say<W: Write> {
    out: W,
    vm: String,
    last: String,
    reader: Reader,
}

impl<W: Write> Say<W> {
    /// For the task executor.
    pub(super) fn new(out: W, vm: &str) -> Self {
        Self {
            out,
            vm: vm.to_owned(),
            last: String::new(),
            reader: Reader::Executor,
        }
    }

    /// For a person at a terminal.
    pub(super) fn plainly(out: W, vm: &str) -> Self {
        Self {
            reader: Reader::Person(Instant::now(), 0),
            ..Self::new(out, vm)
        }
    }

    /// A stage was reached. The same one is told once.
    pub(super) fn stage(&mut self, text: &str) {
        if self.last != text {
            text.clone_into(&mut self.last);
            self.line(text);
        }
    }

    /// How far the image is.
    pub(super) fn progress(&mut self, progress: Progress) {
        let Progress { done, total } = progress;
        match &mut self.reader {
            Reader::Executor => {
                let total = total.unwrap_or(0);
                let vm = &self.vm;
                let _ = writeln!(self.out, "::progress {done} {total} bytes streaming {vm}");
            }
            Reader::Person(_, told) => {
                let Some(total) = total.filter(|total| *total > 0) else {
                    return;
                };
                let tenths = done.saturating_mul(10) / total;
                if tenths > *told {
                    *told = tenths;
                    let (done, total) = (done / 1_000_000, total / 1_000_000);
                    self.line(&format!("image {tenths}0 % ({done} of {total} MB)"));
                }
            }
        }
    }

    /// Nobody may be listening any more; the machine comes up all the same.
    fn line(&mut self, text: &str) {
        let vm = &self.vm;
        let _ = match self.reader {
            Reader::Executor => writeln!(self.out, "::stage {vm}: {text}"),
            Reader::Person(since, _) => {
                let seconds = since.elapsed().as_secs();
                let (minutes, seconds) = (seconds / 60, seconds % 60);
                writeln!(self.out, "[{minutes}:{seconds:02}] {vm}: {text}")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(mut say: Say<&mut Vec<u8>>) {
        say.stage("powered on");
        say.stage("powered on");
        for done in [0, 9, 10, 19, 100] {
            say.progress(Progress {
                done: done * 1_000_000,
                total: Some(100_000_000),
            });
        }
        say.progress(Progress {
            done: 1,
            total: None,
        });
    }

    #[test]
    fn the_executor_is_told_all() {
        let mut out = Vec::new();
        told(Say::new(&mut out, "t"));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(text.starts_with("::stage t: powered on\n::progress 0 100000000 bytes"));
    }

    #[test]
    fn a_person_is_told_tenths() {
        let mut out = Vec::new();
        told(Say::plainly(&mut out, "t"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[0:00] t: powered on\n[0:00] t: image 10 % (10 of 100 MB)\n\
             [0:00] t: image 100 % (100 of 100 MB)\n"
        );
    }
}
