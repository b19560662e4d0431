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
}

impl<W: Write> Say<W> {
    pub(super) fn new(out: W, vm: &str) -> Self {
        Self {
            out,
            vm: vm.to_owned(),
            last: String::new(),
        }
    }

    /// A stage was reached. The same one is told once.
    pub(super) fn stage(&mut self, text: &str) {
        if self.last != text {
            text.clone_into(&mut self.last);
            // Nobody may be listening any more; the machine comes up all the same.
            let _ = writeln!(self.out, "::stage {}: {text}", self.vm);
        }
    }

    /// How far the image is.
    pub(super) fn progress(&mut self, progress: Progress) {
        let total = progress.total.unwrap_or(0);
        let _ = writeln!(
            self.out,
            "::progress {} {total} bytes streaming {}",
            progress.done, self.vm
        );
    }
}
