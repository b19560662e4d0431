//! Looking at a lab that runs: its packets, a target's display, its console.

use lab::capture::rotate;

use crate::bench::Bench;

#[test]
fn a_capture_that_has_become_long_begins_anew_while_the_server_runs() {
    let bench = Bench::new();
    bench.start().unwrap();
    let pcap = bench.server().pcap();
    let old = bench.server().dir().join("lab.pcap.1");
    assert!(!rotate(&bench.lab, 1 << 20).unwrap(), "it is short");
    assert!(rotate(&bench.lab, 0).unwrap());
    // the head of a capture, and no packet
    assert_eq!(fs_err::metadata(&old).unwrap().len(), 24);
    assert_eq!(fs_err::metadata(&pcap).unwrap().len(), 24);
    assert!(rotate(&bench.lab, 0).unwrap(), "and once more");
    let said = bench.lab(&["pcap"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("vm/server/lab.pcap  1 MiB"), "{said}");
}

#[test]
fn a_targets_display_is_a_picture() {
    let bench = Bench::new();
    bench.start().unwrap();
    bench.target("target1").unwrap();
    let said = bench.lab(&["screen", "target1"]);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let picture = fs_err::read(bench.lab.vm("target1").screen()).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n"));
    let said = bench.lab(&["screen", "server"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("the server has no display"));
}

#[test]
fn a_console_that_is_only_read_ends_with_its_vm() {
    let bench = Bench::new();
    let vm = bench.server();
    fs_err::create_dir_all(vm.dir()).unwrap();
    fs_err::write(vm.serial_log(), "one\r\n").unwrap();
    let said = bench.lab(&["console", "server", "--ro", "--times"]);
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "              one\n"
    );
}
