//! What is told while a machine comes up: lines that the task executor
//! renders, and that a person can read.

use std::io::Write;

use protocol::Progress;

/// Where stages and progress go.
#[derive(Debug)]
pub(super) struct Say<W: Write> {
    out: W,
    vm: String,
    last: String,
    /// The last tenth of the image that was told, if a person reads it as it is.
    tenth: Option<u64>,
    person: bool,
}

impl<W: Write> Say<W> {
    pub(super) fn new(out: W, vm: &str) -> Self {
        Self {
            out,
            vm: vm.to_owned(),
            last: String::new(),
            tenth: None,
            person: false,
        }
    }

    /// The same, for a person who reads it as it is.
    pub(super) fn to_person(out: W, vm: &str) -> Self {
        Self {
            person: true,
            ..Self::new(out, vm)
        }
    }

    /// A stage was reached. The same one is told once.
    pub(super) fn stage(&mut self, text: &str) {
        if self.last != text {
            text.clone_into(&mut self.last);
            // Nobody may be listening any more; the machine comes up all the same.
            let mark = if self.person { "" } else { "::stage " };
            let _ = writeln!(self.out, "{mark}{}: {text}", self.vm);
        }
    }

    /// How far the image is.
    pub(super) fn progress(&mut self, progress: Progress) {
        let total = progress.total.unwrap_or(0);
        if self.person {
            let tenth = progress.done.saturating_mul(10) / total.max(1);
            if total > 0 && self.tenth.replace(tenth) != Some(tenth) {
                let (percent, mib) = (tenth * 10, total >> 20);
                let _ = writeln!(self.out, "{}: {percent} % of {mib} MiB", self.vm);
            }
            return;
        }
        let _ = writeln!(
            self.out,
            "::progress {} {total} bytes streaming {}",
            progress.done, self.vm
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_no_marks_and_each_tenth_once() {
        let mut out = Vec::new();
        let mut say = Say::to_person(&mut out, "t");
        say.stage("powered on");
        for done in [0, 1 << 20, 11 << 20, 12 << 20, 100 << 20] {
            say.progress(Progress {
                done,
                total: Some(100 << 20),
            });
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "t: powered on\nt: 0 % of 100 MiB\nt: 10 % of 100 MiB\nt: 100 % of 100 MiB\n"
        );
    }
}
