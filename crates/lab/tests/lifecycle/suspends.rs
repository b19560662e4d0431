//! Suspending and going on: with a real QEMU whose guest's memory is written,
//! loaded, damaged, and written by another QEMU.

use std::time::Duration;

use lab::vm::{Record, Saved, Started, State, qmp::Qmp, suspend};
use serde_json::json;

use crate::bench::Bench;

/// A word in the guest's memory, which only its own memory has.
const WORD: u64 = 0x5ca1_ab1e_0ddb_a115;
const ADDRESS: &str = "0x48000000";

pub(crate) fn saved() -> Bench {
    let bench = Bench::new();
    bench.configure("[server]\nmemory = \"512MiB\"\n");
    bench.start().unwrap();
    bench.set_up();
    bench.suspend();
    bench
}

impl Bench {
    /// As if the first boot of the disk had been seen to its end.
    pub(crate) fn set_up(&self) {
        let record = self.running("server");
        fs_err::write(self.server().set_up(), record.instance).unwrap();
    }

    pub(crate) fn suspend(&self) {
        let how = suspend(&self.server(), "server", Duration::ZERO).unwrap();
        assert_eq!(how.as_str(), "suspended");
        assert_eq!(self.state(), State::Stopped);
        assert!(self.server().ram().exists());
    }

    /// What the guest's memory has at [`ADDRESS`].
    fn word(&self) -> String {
        let mut qmp = Qmp::connect(&self.server().qmp(), Duration::from_secs(5)).unwrap();
        qmp.human(&format!("xp /1gx {ADDRESS}")).unwrap()
    }

    /// A start that must boot, and what is said of why.
    fn boots(&self) -> Record {
        let Started::Fresh { record, new_disk } = self.start().unwrap() else {
            panic!("it did not boot")
        };
        assert_eq!(new_disk, None);
        assert!(!record.resumed);
        assert!(!self.server().ram().exists() && !self.server().saved().exists());
        record
    }
}

#[test]
fn memory_survives_and_is_used_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.configure("[server]\nmemory = \"512MiB\"\n");
    // written through a device of the machine that QEMU itself loads from a file
    fs_err::write(bench.path("word"), WORD.to_le_bytes()).unwrap();
    bench.fake_qemu(&format!(
        "exec $QEMU -S -device loader,file={},addr={ADDRESS},force-raw=on \"$@\"",
        bench.path("word").display()
    ));
    let before = bench.start().unwrap().record().clone();
    bench.set_up();
    let word = bench.word();
    assert!(word.contains(&format!("{WORD:#x}")), "{word}");
    bench.suspend();
    assert!(!before.process.is_alive());
    let mode = fs_err::metadata(bench.server().ram())
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600, "memory holds keys");
    // were it booted, it would have this
    fs_err::write(bench.path("word"), [0; 8]).unwrap();
    let Started::Resumed(record) = bench.start().unwrap() else {
        panic!("it did not go on")
    };
    assert!(record.resumed && record.forwards.is_some());
    assert_eq!(record.instance, before.instance);
    assert!(bench.word().contains(&format!("{WORD:#x}")));
    assert!(!bench.server().ram().exists() && !bench.server().saved().exists());
    assert_eq!(bench.start().unwrap(), Started::Already(record));
}

#[test]
fn what_does_not_fit_is_dropped_and_it_boots() {
    let bench = saved();
    // cut off
    let ram = fs_err::OpenOptions::new()
        .write(true)
        .open(bench.server().ram())
        .unwrap();
    ram.set_len(1 << 20).unwrap();
    bench.boots();
    // another machine
    bench.suspend();
    bench.configure("[server]\nmemory = \"640MiB\"\n");
    bench.boots();
    // another QEMU
    bench.suspend();
    let mut other: serde_json::Value =
        serde_json::from_slice(&fs_err::read(bench.server().saved()).unwrap()).unwrap();
    other["qemu"] = json!("9.9.9");
    fs_err::write(bench.server().saved(), other.to_string()).unwrap();
    bench.boots();
    // memory without the note that vouches for it
    bench.suspend();
    fs_err::remove_file(bench.server().saved()).unwrap();
    bench.boots();
    // a note that is right for memory that is not: QEMU itself refuses
    bench.suspend();
    fs_err::write(bench.server().ram(), vec![7; 4 << 20]).unwrap();
    let (record, metadata) = (
        bench.server().saved(),
        fs_err::metadata(bench.server().ram()).unwrap(),
    );
    let mut note: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&record).unwrap()).unwrap();
    let modified = metadata.modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    note["file"][1] = json!(metadata.len());
    note["file"][2] = json!(u64::try_from(since.as_nanos()).unwrap());
    fs_err::write(&record, note.to_string()).unwrap();
    assert!(Saved::read(&bench.server()).is_some());
    bench.boots();
}

#[test]
fn status_says_that_it_is_suspended() {
    let bench = saved();
    let status = bench.lab(&["status"]);
    let told = String::from_utf8(status.stdout).unwrap();
    assert!(told.contains("server   suspended"), "{told}");
}

#[test]
fn fresh_boots_and_a_new_disk_forgets() {
    let bench = saved();
    let options = lab::vm::Options {
        fresh: true,
        ..bench.options()
    };
    let started = lab::vm::start_server(&bench.lab, &options).unwrap();
    assert!(matches!(started, Started::Fresh { new_disk: None, .. }));
    assert!(!bench.server().ram().exists());
    bench.suspend();
    bench.image("two");
    let Started::Fresh { new_disk, .. } = bench.start().unwrap() else {
        panic!("it went on with another disk")
    };
    assert_eq!(new_disk, Some("the image changed"));
    assert!(!bench.server().ram().exists());
}

#[test]
fn a_qemu_that_cannot_save_is_shut_down_instead() {
    let bench = Bench::new();
    bench.start().unwrap();
    bench.set_up();
    // the place of the memory file is taken by a folder
    fs_err::create_dir(bench.server().ram()).unwrap();
    let how = suspend(&bench.server(), "server", Duration::ZERO);
    fs_err::remove_dir(bench.server().ram()).unwrap();
    assert_eq!(how.unwrap().as_str(), "switched off");
    assert!(!bench.server().saved().exists());
    bench.boots();
}
