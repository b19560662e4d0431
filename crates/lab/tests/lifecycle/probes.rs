//! The host plugged into the segment of a server that has no system: nobody
//! answers, and nothing is left behind.

use std::time::Duration;

use lab::config::Resolved;
use lab::vm::qmp::Qmp;

use crate::bench::Bench;

fn hub(bench: &Bench) -> String {
    let mut qmp = Qmp::connect(&bench.server().qmp(), Duration::from_secs(5)).unwrap();
    qmp.human("info network").unwrap()
}

#[test]
fn a_probe_plugs_in_says_what_is_silent_and_unplugs() {
    let bench = Bench::new();
    let network = Resolved::new(bench.lab.config()).network().unwrap();
    let error = lab::probe::run(&bench.lab, &network).unwrap_err();
    assert!(error.to_string().contains("the server does not run"));
    bench.start().unwrap();
    let before = hub(&bench);
    // a QEMU whose guest is paused holds packets back
    let mut qmp = Qmp::connect(&bench.server().qmp(), Duration::from_secs(5)).unwrap();
    qmp.execute("cont", serde_json::json!({})).unwrap();
    drop(qmp);
    let limit = Duration::from_millis(500);
    let answers = lab::probe::ask(&bench.lab, &network, limit).unwrap();
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|answer| answer.said.is_err()));
    assert_eq!(hub(&bench), before);
    // what was sent is in the capture: it went through the hub
    let capture = fs_err::read(bench.server().pcap()).unwrap();
    assert!(capture.windows(9).any(|window| window == b"PXEClient"));
    assert!(!bench.server().dir().join("lab_probe.sock").exists());
}

#[test]
fn what_a_killed_probe_left_is_in_nobodys_way() {
    let bench = Bench::new();
    bench.start().unwrap();
    let before = hub(&bench);
    let mut killed = std::process::Command::new(env!("CARGO_BIN_EXE_lab"))
        .args([
            "probe",
            "--limit",
            "60",
            "--lab",
            bench.lab.name(),
            "--labs",
        ])
        .arg(bench.path("labs"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::bench::until("the probe's port", || {
        hub(&bench).contains("port-lab_probe: link-lab_probe")
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let output = bench.lab(&["probe", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.matches("FAIL ").count(), 5, "{table}");
    assert_eq!(hub(&bench), before);
}

#[test]
fn where_the_host_has_no_way_in_it_says_so() {
    let bench = Bench::new();
    bench.configure("[network]\nbackend = 'vmnet'\n");
    let output = bench.lab(&["probe"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("note: the services are not probed"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    assert!(output.stdout.is_empty());
}
