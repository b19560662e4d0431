//! Starting: once, twice, at the same time, after a crash, with what changed.

use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use lab::vm::{Started, State, qmp::Qmp};
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Bench, until};

#[test]
fn a_start_is_made_once_and_found_again() {
    let bench = Bench::new();
    assert_eq!(bench.state(), State::Stopped);
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("ran already")
    };
    assert_eq!(new_disk, Some("there is none"));
    let forwards = record.forwards.clone().unwrap();
    for port in [forwards.ssh, forwards.http] {
        TcpStream::connect((forwards.address.as_str(), port)).unwrap();
    }
    assert_eq!(bench.start().unwrap(), Started::Already(record.clone()));
    assert_eq!(bench.state(), State::Running(record.clone()));
    let status = bench.lab(&["vm", "status", "server"]);
    assert!(status.status.success());
    assert_eq!(
        String::from_utf8(status.stdout).unwrap(),
        format!("server: running, pid {}\n", record.process.pid)
    );
}

#[test]
fn starts_at_the_same_time_give_one_vm() {
    let bench = Bench::new();
    let pids: Vec<i32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bench.start().unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().record().process.pid)
            .collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

#[test]
fn two_labs_side_by_side_share_nothing() {
    let (a, b) = (Bench::named("a"), Bench::named("b"));
    let (a, b) = (
        a.start().unwrap().record().clone(),
        b.start().unwrap().record().clone(),
    );
    let (fa, fb) = (a.forwards.unwrap(), b.forwards.unwrap());
    assert_ne!(fa.ssh, fb.ssh);
    assert_ne!(fa.http, fb.http);
}

#[test]
fn a_killed_vm_is_told_apart_and_started_again_from_its_disk() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    fs_err::write(bench.lab.vm("server").set_up(), &first.instance).unwrap();
    first.process.signal(Signal::KILL).unwrap();
    until("its end", || !first.process.is_alive());
    assert_eq!(bench.state(), State::Died(first.clone()));
    assert_eq!(
        bench.lab(&["vm", "status", "server"]).status.code(),
        Some(4)
    );
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("ran already")
    };
    assert_eq!(new_disk, None);
    assert_eq!(record.instance, first.instance);
    assert_ne!(record.process.pid, first.process.pid);
}

#[test]
fn a_number_given_to_another_process_is_not_the_vm() {
    let bench = Bench::new();
    let mut record = bench.start().unwrap().record().clone();
    record.process.signal(Signal::KILL).unwrap();
    until("its end", || !record.process.is_alive());
    let mut other = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    record.process.pid = i32::try_from(other.id()).unwrap();
    record.write(&bench.server()).unwrap();
    assert_eq!(bench.state(), State::Died(record));
    lab::vm::stop(&bench.server(), Duration::ZERO).unwrap();
    assert_eq!(other.try_wait().unwrap(), None, "a stranger was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_server_that_was_killed_in_its_first_boot_begins_with_a_new_disk() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    first.process.signal(Signal::KILL).unwrap();
    until("its end", || !first.process.is_alive());
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("ran already")
    };
    assert_eq!(new_disk, Some("its first set-up never ended"));
    assert_ne!(record.instance, first.instance);
}

#[test]
fn a_server_whose_first_set_up_failed_begins_with_a_new_disk_though_it_runs() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    let failed = |time: u64| {
        let text = format!(
            r#"{{"time": {time}, "kind": "failed", "exit": 10, "stage": "server-packages", "text": "x"}}"#
        );
        fs_err::write(bench.server().dir().join("diagnosis.json"), text).unwrap();
    };
    failed(first.started - 1);
    assert_eq!(bench.start().unwrap(), Started::Already(first.clone()));
    failed(first.started + 1);
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("it is waited for in vain")
    };
    assert_eq!(new_disk, Some("its first set-up failed"));
    assert!(!first.process.is_alive());
    // one that was set up has a disk worth keeping, whatever fails later
    fs_err::write(bench.server().set_up(), &record.instance).unwrap();
    failed(record.started + 1);
    assert_eq!(bench.start().unwrap(), Started::Already(record));
}

#[test]
fn a_disk_that_the_hosts_end_has_damaged_is_made_anew() {
    let bench = Bench::new();
    let vm = bench.server();
    let dies_with_the_host = |instance: &str| {
        let mut record = bench.start().unwrap().record().clone();
        assert_eq!(record.instance == instance, !instance.is_empty());
        fs_err::write(vm.set_up(), &record.instance).unwrap();
        record.process.signal(Signal::KILL).unwrap();
        until("its end", || !record.process.is_alive());
        record.process.boot_id = "another".to_owned();
        record.write(&vm).unwrap();
        record.instance
    };
    let first = dies_with_the_host("");
    // whole
    dies_with_the_host(&first);
    // the table of what is used says that nothing is
    let disk = std::fs::OpenOptions::new().write(true).open(vm.disk());
    disk.unwrap().write_all_at(&[0xff; 4096], 3 << 16).unwrap();
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("ran already")
    };
    assert_eq!(new_disk, Some("there is none"));
    assert_ne!(record.instance, first);
}

#[test]
fn another_image_or_seed_gives_a_new_disk_and_the_same_bytes_do_not() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    // The same bytes in another file, with other times.
    bench.image("one");
    assert_eq!(bench.start().unwrap(), Started::Already(first.clone()));
    bench.image("two");
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("not noticed")
    };
    assert_eq!(new_disk, Some("the image changed"));
    assert_ne!(record.instance, first.instance);
    assert!(!first.process.is_alive());
    fs_err::write(bench.lab.seed(), [2; 4096]).unwrap();
    let Started::Fresh { new_disk, .. } = bench.start().unwrap() else {
        panic!("not noticed")
    };
    assert_eq!(new_disk, Some("the seed changed"));
}

#[test]
fn another_command_line_restarts_it_from_the_same_disk() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    bench.configure("[server]\nmemory = '768MiB'\n");
    let Started::Fresh { record, new_disk } = bench.start().unwrap() else {
        panic!("not noticed")
    };
    assert_eq!(new_disk, None);
    assert_eq!(record.instance, first.instance);
    assert!(record.argv.contains(&"size=768M".to_owned()));
}

/// The size of the content disk that QEMU shows to the guest.
fn content_size(bench: &Bench) -> Option<u64> {
    let mut qmp = Qmp::connect(&bench.server().qmp(), Duration::from_secs(5)).unwrap();
    let blocks = qmp.execute("query-block", json!({})).unwrap();
    let content = blocks.as_array().unwrap().iter().find(|block| {
        block["inserted"]["node-name"] == "content" && block["qdev"].as_str().is_some()
    })?;
    content["inserted"]["image"]["virtual-size"].as_u64()
}

#[test]
fn the_content_disk_comes_and_changes_while_it_runs() {
    let bench = Bench::new();
    let first = bench.start().unwrap().record().clone();
    assert_eq!(content_size(&bench), None);
    for size in [1 << 20, 2 << 20, 3 << 20] {
        bench.content(size);
        let Started::Already(record) = bench.start().unwrap() else {
            panic!("restarted")
        };
        assert_eq!(record.process, first.process);
        assert_eq!(content_size(&bench), Some(size));
        assert_eq!(bench.running("server"), record);
    }
    // A start with the disk in place puts it in the command line.
    lab::vm::stop(&bench.server(), Duration::ZERO).unwrap();
    bench.start().unwrap();
    assert_eq!(content_size(&bench), Some(3 << 20));
    bench.content(4 << 20);
    bench.start().unwrap();
    assert_eq!(content_size(&bench), Some(4 << 20));
}

/// The netdevs of the hub in the server's QEMU.
fn hub(bench: &Bench) -> String {
    let mut qmp = Qmp::connect(&bench.server().qmp(), Duration::from_secs(5)).unwrap();
    qmp.human("info network").unwrap()
}

#[test]
fn targets_are_plugged_into_the_server_and_again_into_the_next_one() {
    let bench = Bench::new();
    let error = bench.target("target1").unwrap_err().to_string();
    assert!(error.contains("the server, which does not run"), "{error}");
    bench.start().unwrap();
    let target = bench.target("target1").unwrap().record().clone();
    assert!(
        hub(&bench).contains("port-target1: link-target1"),
        "{}",
        hub(&bench)
    );
    assert_eq!(
        bench.target("target1").unwrap(),
        Started::Already(target.clone())
    );
    until("the connection", || {
        hub(&bench).contains("link-target1: index=0,type=stream,unix:")
    });
    lab::vm::stop(&bench.server(), Duration::ZERO).unwrap();
    bench.start().unwrap();
    assert!(target.process.is_alive());
    assert!(
        hub(&bench).contains("port-target1: link-target1"),
        "{}",
        hub(&bench)
    );
}
