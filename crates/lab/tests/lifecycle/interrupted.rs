//! Suspending and resuming, interrupted: whoever did it was killed, and the
//! guest stands still. The next start goes on from its memory, wherever that is.

use std::time::Duration;

use lab::vm::{Started, State, Stopped, qmp::Qmp, stop, suspend};
use serde_json::json;

use crate::bench::Bench;
use crate::suspends::saved;

impl Bench {
    fn qmp(&self, command: &str) -> serde_json::Value {
        let mut qmp = Qmp::connect(&self.server().qmp(), Duration::from_secs(5)).unwrap();
        qmp.execute(command, json!({})).unwrap()
    }

    /// The guest runs, and is not what a boot would have made of it.
    fn goes_on(&self) {
        let (Started::Resumed(record) | Started::Already(record)) = self.start().unwrap() else {
            panic!("it booted")
        };
        assert!(record.resumed, "its clock has to be set");
        assert_eq!(self.qmp("query-status")["status"], "running");
        assert_eq!(self.state(), State::Running(record));
        assert!(!self.server().saved().exists());
    }

    /// A guest that stands still with its memory in QEMU only.
    fn held(&self) {
        self.start().unwrap();
        self.qmp("stop");
        fs_err::write(self.server().held(), "").unwrap();
    }

    /// One that stands still with its memory in the file, too.
    fn held_and_saved(&self) {
        let (ram, note) = (self.server().ram(), self.server().saved());
        fs_err::hard_link(&ram, self.path("ram")).unwrap();
        fs_err::copy(&note, self.path("note")).unwrap();
        self.held();
        fs_err::rename(self.path("ram"), ram).unwrap();
        fs_err::rename(self.path("note"), note).unwrap();
    }
}

#[test]
fn a_guest_whose_memory_is_in_qemu_runs_on() {
    let bench = saved();
    bench.held();
    let before = bench.server();
    assert!(matches!(bench.state(), State::Held(_)));
    let status = bench.lab(&["vm", "status", "server"]);
    assert_eq!(status.status.code(), Some(3));
    let told = String::from_utf8(status.stdout).unwrap();
    assert!(told.contains("stands still"), "{told}");
    bench.goes_on();
    assert!(!before.held().exists());
}

#[test]
fn a_guest_whose_memory_is_on_disk_is_resumed_from_there() {
    let bench = saved();
    bench.held_and_saved();
    let State::Held(before) = bench.state() else {
        panic!("{:?}", bench.state())
    };
    bench.goes_on();
    assert!(!before.process.is_alive());
}

#[test]
fn what_stands_still_can_be_suspended_and_stopped() {
    let bench = saved();
    bench.held();
    bench.suspend();
    bench.held_and_saved();
    bench.suspend();
    bench.held();
    let how = stop(&bench.server(), Duration::from_secs(60)).unwrap();
    assert_eq!(
        how,
        Stopped::ByQemu,
        "it hears nothing and is not waited for"
    );
    assert!(!bench.server().held().exists());
}

/// Real kills, at moments spread over what a suspend and a resume take.
#[test]
fn killed_at_any_moment_it_goes_on() {
    let bench = saved();
    bench.goes_on();
    for step in 0..12 {
        let after = Duration::from_millis(15 * step);
        bench.lab_killed(&["down"], after);
        bench.goes_on_after_kill(after);
        suspend(&bench.server(), "server", Duration::ZERO).unwrap();
        let (host, image) = (bench.path("host.toml"), bench.path("server.raw"));
        let start = ["vm", "start", "server", "--host"];
        let words = [
            start.as_slice(),
            &[host.to_str().unwrap(), "--image", image.to_str().unwrap()],
        ]
        .concat();
        bench.lab_killed(&words, after);
        bench.goes_on_after_kill(after);
    }
}

impl Bench {
    fn goes_on_after_kill(&self, after: Duration) {
        match self.start().unwrap() {
            // ended before it was written down, or never stopped
            Started::Already(_) | Started::Resumed(_) => {}
            Started::Fresh { .. } => panic!("it booted, killed after {after:?}"),
        }
        assert_eq!(self.qmp("query-status")["status"], "running", "{after:?}");
        assert!(matches!(self.state(), State::Running(_)), "{after:?}");
    }
}
