//! A console's log with a time before each line.

use std::fmt::Write as _;
use std::path::Path;

use crate::diagnose::plain;
use crate::target::{marks, time_of};
use crate::timeline::clock;

/// Turns what comes from a log into lines with times.
#[derive(Debug)]
pub(super) struct Timed {
    /// Where in the log the next line begins.
    at: u64,
    partial: Vec<u8>,
}

impl Timed {
    /// For what comes from byte `at` of the log on.
    pub(super) fn new(at: u64) -> Self {
        Self {
            at,
            partial: Vec::new(),
        }
    }

    /// The lines that are complete with this.
    pub(super) fn take(&mut self, log: &Path, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return String::new();
        };
        let marks = marks(log);
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        let mut text = String::new();
        for line in complete.split_inclusive(|byte| *byte == b'\n') {
            let shown = plain(&String::from_utf8_lossy(line));
            let time = time_of(&marks, self.at).map_or_else(
                || " ".repeat("00:00:00.000".len()),
                |time| format!("{}.{:03}", &clock(time)[11..19], time % 1000),
            );
            let _ = writeln!(text, "{time}  {}", shown.trim());
            self.at += line.len() as u64;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn each_line_has_the_time_at_which_it_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serial.log");
        std::fs::write(&log, "one\r\ntwo\r\nthr").unwrap();
        let inode = std::fs::metadata(&log).unwrap().ino();
        let times = format!("{inode} 5 1790000000250\n");
        std::fs::write(dir.path().join("serial.times"), times).unwrap();
        let mut lines = Timed::new(0);
        assert_eq!(
            lines.take(&log, b"one\r\ntwo\r\nthr"),
            "14:13:20.250  one\n              two\n"
        );
        assert_eq!(lines.take(&log, b"ee"), "");
        assert_eq!(lines.take(&log, b"\n"), "              three\n");
    }
}
