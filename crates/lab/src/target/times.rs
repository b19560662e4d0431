//! `serial.times`: when what was written to a console's log.
//!
//! QEMU 10 can't put times into the log itself, and the log must stay as the
//! machine wrote it. So whoever follows it notes how long it was when. A line
//! is `INODE LENGTH MILLISECONDS`; what belongs to another log counts for nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One note: up to this length at this time, in milliseconds since 1970.
type Mark = (u64, u64);

/// Notes the times of one log.
#[derive(Debug)]
pub(crate) struct Times {
    path: PathBuf,
    /// Of which file, and how long it was.
    last: Option<(u64, u64)>,
}

impl Times {
    /// Beside the log at `log`; what was noted before goes on.
    pub(crate) fn open(log: &Path) -> Self {
        let path = beside(log);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let last = text.lines().last().and_then(parse);
        Self {
            path,
            last: last.map(|(inode, (length, _))| (inode, length)),
        }
    }

    /// Notes that the log was found to be so long. It is no failure if it can't.
    pub(crate) fn note(&mut self, log: &File, length: u64) {
        let Ok(metadata) = log.metadata() else { return };
        let inode = metadata.ino();
        let same = self.last.is_some_and(|(of, _)| of == inode);
        if same && self.last.is_some_and(|(_, noted)| noted >= length) {
            return;
        }
        // A log that is read late was complete when it was last written to.
        let time = milliseconds(metadata.modified().unwrap_or_else(|_| SystemTime::now()));
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        if same {
            options.append(true);
        } else {
            options.truncate(true);
        }
        let written = options
            .open(&self.path)
            .and_then(|mut file| writeln!(file, "{inode} {length} {time}"));
        if written.is_ok() {
            self.last = Some((inode, length));
        }
    }
}

/// What was noted of the log, in its order.
pub(crate) fn marks(log: &Path) -> Vec<Mark> {
    let Ok(inode) = std::fs::metadata(log).map(|metadata| metadata.ino()) else {
        return Vec::new();
    };
    let mut text = String::new();
    if File::open(beside(log))
        .and_then(|mut file| file.read_to_string(&mut text))
        .is_err()
    {
        return Vec::new();
    }
    let mut marks: Vec<Mark> = text
        .lines()
        .filter_map(parse)
        .filter(|(of, _)| *of == inode)
        .map(|(_, mark)| mark)
        .collect();
    // two may have noted at the same time
    marks.sort_unstable();
    marks
}

/// When what is at `offset` was there at the latest.
pub(crate) fn time_of(marks: &[Mark], offset: u64) -> Option<u64> {
    let after = marks.partition_point(|(length, _)| *length <= offset);
    marks.get(after).map(|(_, time)| *time)
}

pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn beside(log: &Path) -> PathBuf {
    log.with_extension("times")
}

fn parse(line: &str) -> Option<(u64, Mark)> {
    let mut numbers = line.split(' ').map(|word| word.parse().ok());
    Some((numbers.next()??, (numbers.next()??, numbers.next()??)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_the_time_at_which_it_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serial.log");
        std::fs::write(&log, "one\n").unwrap();
        let mut times = Times::open(&log);
        times.note(&File::open(&log).unwrap(), 4);
        times.note(&File::open(&log).unwrap(), 4);
        let [(4, first)] = marks(&log)[..] else {
            panic!("{:?}", marks(&log))
        };
        assert!(first > 0);
        // by another process, which goes on
        let mut again = Times::open(&log);
        again.note(&File::open(&log).unwrap(), 4);
        again.note(&File::open(&log).unwrap(), 9);
        assert_eq!(marks(&log).len(), 2);
        let marks = [(4, 1000), (9, 2000)];
        assert_eq!(time_of(&marks, 0), Some(1000));
        assert_eq!(time_of(&marks, 4), Some(2000));
        assert_eq!(time_of(&marks, 9), None);
    }

    #[test]
    fn a_new_log_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serial.log");
        std::fs::write(&log, "one\n").unwrap();
        Times::open(&log).note(&File::open(&log).unwrap(), 4);
        std::fs::rename(&log, dir.path().join("serial.log.1")).unwrap();
        std::fs::write(&log, "x").unwrap();
        assert_eq!(marks(&log), []);
        Times::open(&log).note(&File::open(&log).unwrap(), 1);
        assert_eq!(marks(&log).len(), 1);
    }
}
