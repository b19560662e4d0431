//! `timeline.jsonl`: a line an entry, in the order in which they were learnt.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;

use super::Entry;
use crate::state::VmPaths;

/// How long the file may be: some hundred installations.
const LIMIT: u64 = 4 << 20;

/// One machine's timeline, to be added to.
///
/// That something can't be written there is no failure of the machine's: it is
/// said once, and the machine comes up all the same.
#[derive(Debug)]
pub struct Timeline {
    path: PathBuf,
    known: HashSet<String>,
    /// The last tenth of the image that was written down.
    tenth: Option<u64>,
    /// Whether the last line has no end: a crash cut it off.
    torn: bool,
    complained: bool,
}

impl Timeline {
    /// The timeline of a VM.
    pub fn open(vm: &VmPaths) -> Self {
        let path = vm.timeline();
        if std::fs::metadata(&path).is_ok_and(|file| file.len() > LIMIT) {
            let _ = std::fs::rename(&path, path.with_extension("jsonl.1"));
        }
        let known = read(vm).into_iter().map(|entry| entry.key).collect();
        Self {
            path,
            known,
            tenth: None,
            torn: std::fs::read(vm.timeline())
                .is_ok_and(|text| text.last().is_some_and(|last| *last != b'\n')),
            complained: false,
        }
    }

    /// Adds what is not there yet.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut text = Vec::new();
        for entry in entries {
            if self.known.contains(&entry.key) {
                continue;
            }
            if let Ok(mut line) = serde_json::to_vec(&entry) {
                line.push(b'\n');
                text.append(&mut line);
            }
            self.known.insert(entry.key);
        }
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.torn) {
            text.insert(0, b'\n');
        }
        // One write, so that two who add at the same time mix no lines.
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&text));
        if let (Err(error), false) = (written, self.complained) {
            self.complained = true;
            eprintln!("note: can't write {}: {error}", self.path.display());
        }
    }

    /// Adds an event of bootd's; of those that only tell progress, one a tenth.
    pub fn add_event(&mut self, event: &protocol::Event) {
        if let Some(progress) = event.progress {
            let total = progress.total.unwrap_or(0).max(1);
            let tenth = progress.done.saturating_mul(10) / total;
            if self.tenth.replace(tenth) == Some(tenth) {
                return;
            }
        }
        self.add([Entry::event(event)]);
    }
}

/// Everything that is known of the VM, by time. A line that was cut off by a
/// crash is passed over.
pub fn read(vm: &VmPaths) -> Vec<Entry> {
    let text = std::fs::read_to_string(vm.timeline()).unwrap_or_default();
    let mut entries: Vec<Entry> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    entries.sort_by_key(|entry| entry.time);
    entries
}

/// Begins anew: what was is kept once.
pub(crate) fn begin_anew(vm: &VmPaths) {
    let path = vm.timeline();
    let _ = std::fs::rename(&path, path.with_extension("jsonl.1"));
}

#[cfg(test)]
mod tests {
    use protocol::{Event, Progress, Stage};

    use super::*;
    use crate::state::LabPaths;

    fn vm(dir: &std::path::Path) -> VmPaths {
        let vm = LabPaths::new(dir, "lab").unwrap().vm("target1");
        fs_err::create_dir_all(vm.dir()).unwrap();
        vm
    }

    #[test]
    fn each_thing_is_there_once_and_in_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let vm = vm(dir.path());
        let mut timeline = Timeline::open(&vm);
        timeline.add([Entry::host(2000, None, "later")]);
        timeline.add([Entry::host(1000, None, "first")]);
        let mut again = Timeline::open(&vm);
        again.add([Entry::host(2000, None, "later")]);
        let texts: Vec<_> = read(&vm).into_iter().map(|entry| entry.text).collect();
        assert_eq!(texts, ["first", "later"]);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_a_new_installation_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let vm = vm(dir.path());
        Timeline::open(&vm).add([Entry::host(1000, None, "first")]);
        let mut text = fs_err::read_to_string(vm.timeline()).unwrap();
        text.push_str("{\"time\":3");
        fs_err::write(vm.timeline(), text).unwrap();
        assert_eq!(read(&vm).len(), 1);
        Timeline::open(&vm).add([Entry::host(4000, None, "next")]);
        assert_eq!(read(&vm).len(), 2);
        begin_anew(&vm);
        assert!(read(&vm).is_empty());
    }

    #[test]
    fn progress_is_written_once_a_tenth() {
        let dir = tempfile::tempdir().unwrap();
        let vm = vm(dir.path());
        let mut timeline = Timeline::open(&vm);
        for seq in 0..=100 {
            timeline.add_event(&Event {
                seq,
                time: seq,
                machine: None,
                mac: None,
                stage: Stage::Streaming,
                state: None,
                message: None,
                progress: Some(Progress {
                    done: seq << 20,
                    total: Some(100 << 20),
                }),
                detail: None,
            });
        }
        assert_eq!(read(&vm).len(), 11);
    }
}
