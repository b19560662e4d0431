//! What QEMU holds on to, and what is asked of a disk.

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use crate::bench::Bench;

#[test]
fn qemu_has_a_session_of_its_own_and_no_descriptor_of_ours() {
    let bench = Bench::new();
    // Without close-on-exec, as Make's jobserver is inherited.
    let (read, write) = rustix::pipe::pipe().unwrap();
    let ours = fs_err::read_link(format!("/proc/self/fd/{}", read.as_raw_fd())).unwrap();
    let pid = bench.start().unwrap().record().process.pid;
    let theirs: Vec<_> = fs_err::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(!theirs.contains(&ours), "{ours:?} is among {theirs:?}");
    drop((read, write));
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat[stat.rfind(')').unwrap() + 1..]
        .split_whitespace()
        .nth(3)
        .unwrap();
    assert_eq!(session, pid.to_string());
}

#[test]
fn a_disk_smaller_than_its_image_is_refused() {
    let bench = Bench::new();
    fs_err::OpenOptions::new()
        .write(true)
        .open(bench.path("server.raw"))
        .unwrap()
        .set_len(9 << 30)
        .unwrap();
    let error = bench.start().unwrap_err().to_string();
    assert!(
        error.contains("needs a disk of at least 9216 MiB, and lab.toml gives 8GiB"),
        "{error}"
    );
    assert!(!bench.server().disk().exists());
}

#[test]
fn a_disk_whose_making_was_interrupted_is_made_again() {
    let bench = Bench::new();
    bench.start().unwrap();
    lab::vm::stop(&bench.server(), Duration::ZERO).unwrap();
    fs_err::remove_file(bench.server().dir().join("disk.json")).unwrap();
    let lab::vm::Started::Fresh { new_disk, .. } = bench.start().unwrap() else {
        panic!("ran already")
    };
    assert_eq!(new_disk, Some("there is none"));
}

#[test]
fn firmware_variables_are_its_own_and_hardly_take_room() {
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new();
    bench.start().unwrap();
    let vars = fs_err::metadata(bench.server().vars()).unwrap();
    assert_eq!(vars.len(), 64 << 20);
    assert!(vars.blocks() * 512 < 1 << 20, "{} blocks", vars.blocks());
}
