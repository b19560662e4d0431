//! The segment's switch as a process, with real QEMUs as its clients.

use std::process::Output;
use std::time::Duration;

use lab::switch::{ensure, process};
use lab::vm::qmp::Qmp;
use lab::vm::{Started, stop};
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Bench, until};

impl Bench {
    fn with_switch() -> Self {
        let bench = Self::new();
        bench.configure("[network]\nbackend = 'switch'\n");
        bench
    }

    /// Starts the server by the program, which is also the switch.
    fn start_by_program(&self) -> Output {
        let (host, image) = (self.path("host.toml"), self.path("server.raw"));
        let [host, image] = [&host, &image].map(|path| path.to_str().unwrap());
        let output = self.lab(&["vm", "start", "server", "--host", host, "--image", image]);
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Whether the VM's end of the segment is connected.
    fn is_connected(&self, vm: &str) -> bool {
        let mut qmp = Qmp::connect(&self.lab.vm(vm).qmp(), Duration::from_secs(5)).unwrap();
        let network = qmp.human("info network").unwrap();
        let line = network.lines().find(|line| line.contains("lab: index=0"));
        line.is_some_and(|line| line.contains("type=stream,unix:"))
    }
}

#[test]
fn a_switch_is_started_once_outlives_the_server_and_ends_with_the_lab() {
    let bench = Bench::with_switch();
    bench.start_by_program();
    let switch = process(&bench.server()).unwrap();
    until("the server", || bench.is_connected("server"));
    let target = bench.target("target1").unwrap().record().clone();
    until("the target", || bench.is_connected("target1"));
    ensure(&bench.server()).unwrap();
    assert_eq!(process(&bench.server()), Some(switch.clone()));
    assert!(matches!(bench.start().unwrap(), Started::Already(_)));
    // the server comes again, under a target that stays
    stop(&bench.server(), Duration::ZERO).unwrap();
    assert!(switch.is_alive());
    bench.start_by_program();
    until("the server again", || bench.is_connected("server"));
    assert!(target.process.is_alive() && bench.is_connected("target1"));
    assert_eq!(process(&bench.server()), Some(switch.clone()));
    let down = bench.lab(&["down", "--grace", "0"]);
    assert!(down.status.success(), "{down:?}");
    assert!(!switch.is_alive());
    for name in ["switch.sock", "switch.json"] {
        assert!(!bench.server().dir().join(name).exists(), "{name}");
    }
    bench.start_by_program();
    let switch = process(&bench.server()).unwrap();
    assert!(bench.lab(&["clean"]).status.success());
    assert!(!switch.is_alive());
}

#[test]
fn a_switch_that_was_killed_comes_again_and_all_with_it() {
    let bench = Bench::with_switch();
    bench.host_with_reconnect();
    bench.start_by_program();
    bench.target("target1").unwrap();
    let first = process(&bench.server()).unwrap();
    first.signal(Signal::KILL).unwrap();
    until("its end", || !first.is_alive());
    assert_eq!(process(&bench.server()), None);
    // the next start, whatever it starts, brings it back
    stop(&bench.lab.vm("server"), Duration::ZERO).unwrap();
    bench.start_by_program();
    assert_ne!(process(&bench.server()), Some(first));
    until("the target again", || bench.is_connected("target1"));
}

#[test]
fn frames_of_a_real_qemu_go_through_and_a_paused_one_holds_up_nobody() {
    let bench = Bench::with_switch();
    bench.start_by_program();
    bench.target("target1").unwrap();
    until("the target", || bench.is_connected("target1"));
    let mut qmp = Qmp::connect(&bench.server().qmp(), Duration::from_secs(5)).unwrap();
    qmp.execute("cont", json!({})).unwrap();
    // the probe's questions reach the server's QEMU past a target that is paused
    let output = bench.lab(&["probe", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let capture = fs_err::read(bench.server().pcap()).unwrap();
    assert!(capture.windows(9).any(|window| window == b"PXEClient"));
}

#[test]
fn a_switch_without_company_ends_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut switch = std::process::Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["switch", "--idle", "1", "--dir"])
        .arg(dir.path())
        .spawn()
        .unwrap();
    let socket = dir.path().join("switch.sock");
    until("its socket", || lab::vm::connect(&socket).is_ok());
    let client = lab::vm::connect(&socket).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(switch.try_wait().unwrap(), None, "it left its client alone");
    drop(client);
    until("its end", || switch.try_wait().unwrap().is_some());
    assert!(switch.wait().unwrap().success());
    let left: Vec<_> = fs_err::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["switch.lock"]);
}
