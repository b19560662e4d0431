//! Ends: asked for, forced, unnoticed; and starts that never become one.

use std::time::Duration;

use lab::vm::{State, Stopped, stop};
use rustix::process::Signal;

use crate::bench::{Bench, until};

#[test]
fn stopping_leaves_no_process_and_no_record_but_the_disk() {
    let bench = Bench::new();
    assert_eq!(
        stop(&bench.server(), Duration::ZERO).unwrap(),
        Stopped::Already
    );
    let record = bench.start().unwrap().record().clone();
    assert_eq!(
        stop(&bench.server(), Duration::ZERO).unwrap(),
        Stopped::ByQemu
    );
    assert!(!record.process.is_alive());
    assert_eq!(bench.state(), State::Stopped);
    assert_eq!(
        bench.lab(&["vm", "status", "server"]).status.code(),
        Some(3)
    );
    assert!(bench.server().disk().exists());
    assert!(!bench.server().qmp().exists());
}

#[test]
fn a_guest_that_does_not_listen_is_switched_off_in_time() {
    let bench = Bench::new();
    bench.start().unwrap();
    let start = std::time::Instant::now();
    assert_eq!(
        stop(&bench.server(), Duration::from_millis(300)).unwrap(),
        Stopped::ByQemu
    );
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_qemu_that_hangs_is_ended_by_a_signal() {
    let bench = Bench::new();
    let record = bench.start().unwrap().record().clone();
    record.process.signal(Signal::STOP).unwrap();
    assert_eq!(
        stop(&bench.server(), Duration::from_secs(1)).unwrap(),
        Stopped::BySignal
    );
    assert!(!record.process.is_alive());
}

#[test]
fn a_qemu_that_nobody_noted_down_is_found() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    fs_err::remove_file(bench.server().record()).unwrap();
    let second = bench.start().unwrap().record().clone();
    until("its end", || !first.process.is_alive());
    fs_err::remove_file(bench.server().record()).unwrap();
    assert_eq!(
        stop(&bench.server(), Duration::ZERO).unwrap(),
        Stopped::ByQemu
    );
    until("its end", || !second.process.is_alive());
}

#[test]
fn a_qemu_that_ends_at_once_is_quoted_with_a_hint() {
    let bench = Bench::new();
    bench.fake_qemu("echo 'qemu: Failed to get \"write\" lock' >&2; exit 1");
    let error = bench.start().unwrap_err().to_string();
    assert!(error.contains("ended at once with status 1"), "{error}");
    assert!(
        error.contains("| qemu: Failed to get \"write\" lock"),
        "{error}"
    );
    assert!(
        error.contains("hint: another QEMU has this disk open"),
        "{error}"
    );
    assert!(error.contains("qemu.log"), "{error}");
    assert_eq!(bench.state(), State::Stopped);
    // And the next one, with a QEMU that works, goes on.
    bench.real_qemu();
    bench.start().unwrap();
}

#[test]
fn a_disk_that_another_qemu_has_open_is_reported_by_the_real_one() {
    let bench = Bench::new();
    let record = bench.start().unwrap().record().clone();
    fs_err::write(bench.server().set_up(), &record.instance).unwrap();
    // as if it were someone else's
    let server = bench.server();
    for file in [server.record(), server.qmp(), server.alive()] {
        fs_err::remove_file(file).unwrap();
    }
    let error = bench.start().unwrap_err().to_string();
    record.process.signal(Signal::KILL).unwrap();
    assert!(
        error.contains("hint: another QEMU has this disk open"),
        "{error}"
    );
}

#[test]
fn one_that_nobody_can_reach_is_not_started_over() {
    let bench = Bench::new();
    let record = bench.start().unwrap().record().clone();
    fs_err::write(bench.server().set_up(), &record.instance).unwrap();
    for file in [bench.server().record(), bench.server().qmp()] {
        fs_err::remove_file(file).unwrap();
    }
    let error = bench.start().unwrap_err().to_string();
    record.process.signal(Signal::KILL).unwrap();
    assert!(error.contains("of which nothing is known"), "{error}");
    // when it has ended all is well
    bench.start().unwrap();
}

#[test]
fn a_missing_program_or_firmware_says_what_to_do() {
    let bench = Bench::new();
    bench.host(&bench.path("no-such-qemu"));
    let error = format!("{:#}", bench.start().unwrap_err());
    assert!(
        error.contains("no-such-qemu") && error.contains("make configure"),
        "{error}"
    );
    bench.real_qemu();
    fs_err::remove_file(bench.path("code")).unwrap();
    let error = bench.start().unwrap_err().to_string();
    assert!(
        error.contains("hint: a file of the command line is gone"),
        "{error}"
    );
}

#[test]
fn a_qemu_without_a_sandbox_runs_without() {
    let bench = Bench::new();
    bench.fake_qemu(
        "case \" $* \" in *' -sandbox '*) echo 'sandbox support is not enabled in this QEMU binary' >&2; exit 1;; esac\nexec $QEMU -S \"$@\"",
    );
    let record = bench.start().unwrap().record().clone();
    assert!(!record.argv.contains(&"-sandbox".to_owned()));
    assert!(matches!(
        bench.start().unwrap(),
        lab::vm::Started::Already(_)
    ));
}

#[test]
fn down_and_clean_work_without_any_configuration() {
    let bench = Bench::new();
    let server = bench.start().unwrap().record().clone();
    let target = bench.target("target1").unwrap().record().clone();
    fs_err::remove_dir_all(bench.lab.config()).unwrap();
    let down = bench.lab(&["down", "--grace", "0"]);
    assert!(
        down.status.success(),
        "{}",
        String::from_utf8_lossy(&down.stderr)
    );
    assert_eq!(
        String::from_utf8(down.stdout).unwrap(),
        "target1: switched off\nserver: switched off\n"
    );
    assert!(!server.process.is_alive() && !target.process.is_alive());
    assert!(bench.lab(&["status"]).status.success());
    assert!(bench.lab(&["clean"]).status.success());
    assert!(!bench.lab.root().exists());
    assert!(
        bench.lab(&["clean"]).status.success(),
        "cleaning what is clean"
    );
}

#[test]
fn one_damaged_record_does_not_keep_the_others_up() {
    let bench = Bench::new();
    bench.start().unwrap();
    let target = bench.target("target1").unwrap().record().clone();
    let good = fs_err::read(bench.server().record()).unwrap();
    fs_err::write(bench.server().record(), "{").unwrap();
    let down = bench.lab(&["down", "--grace", "0"]);
    let said = String::from_utf8(down.stderr).unwrap();
    fs_err::write(bench.server().record(), good).unwrap();
    assert!(!down.status.success());
    assert!(said.contains("vm.json is damaged"), "{said}");
    assert!(!target.process.is_alive());
}
