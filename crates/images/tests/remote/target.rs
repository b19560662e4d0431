//! The image as the installer wants it.

use std::path::Path;

use images::debian::Arch;
use images::fetch::Patience;
use images::ubuntu::{Lock, Pin, build, target};

use crate::server::{Answer, Server, sha256};

#[test]
fn an_image_becomes_a_raw_disk_that_zstd_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, image) = (dir.path().join("raw"), dir.path().join("x.img"));
    let mut disk = vec![0; 3 << 20];
    disk[1 << 20..(1 << 20) + 9].copy_from_slice(b"some data");
    fs_err::write(&raw, &disk).unwrap();
    let status = std::process::Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([&raw, &image])
        .status()
        .unwrap();
    assert!(status.success());
    let out = dir.path().join("out/target.raw.zst");
    let size = target::convert(&image, &out, Path::new("qemu-img")).unwrap();
    assert_eq!(size, disk.len() as u64);
    let again = dir.path().join("again.raw.zst");
    target::convert(&image, &again, Path::new("qemu-img")).unwrap();
    assert!(fs_err::read(&out).unwrap() == fs_err::read(&again).unwrap());
    let mut decoder = zstd::Decoder::new(fs_err::File::open(&out).unwrap()).unwrap();
    decoder.window_log_max(23).unwrap();
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
    assert!(unpacked == disk);
    assert_eq!(fs_err::read_dir(dir.path().join("out")).unwrap().count(), 1);

    fs_err::write(&image, "QFI\u{fb}broken").unwrap();
    let error = target::convert(&dir.path().join("none"), &out, Path::new("qemu-img"));
    assert!(error.unwrap_err().to_string().contains("can't read"));
}

#[test]
fn both_architectures_give_the_files_that_debian_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, image) = (dir.path().join("raw"), dir.path().join("x.img"));
    fs_err::write(&raw, vec![5; 1 << 20]).unwrap();
    let status = std::process::Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([&raw, &image])
        .status()
        .unwrap();
    assert!(status.success());

    let server = Server::start();
    let pin = |path: &str, contents: Vec<u8>| {
        let pin = Pin {
            url: server.url(path),
            sha256: sha256(&contents),
            size: contents.len() as u64,
        };
        server.answer(path, vec![Answer::File(contents)]);
        pin
    };
    let lock = Lock {
        release: "noble".to_owned(),
        date: "20260108".to_owned(),
        minimal_date: "20260108".to_owned(),
        server: pin("/server", b"a server".to_vec()),
        target: pin("/target", fs_err::read(&image).unwrap()),
        kernel: pin("/kernel", b"a kernel".to_vec()),
        initrd: pin("/initrd", b"an initrd".to_vec()),
    };
    let build = |arch, folder: &str| {
        let out = dir.path().join(folder);
        let patience = Patience::default();
        build::build(&lock, arch, &out, Path::new("qemu-img"), patience).unwrap();
        let mut names: Vec<String> = fs_err::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (out, names)
    };
    let (out, names) = build(Arch::Aarch64, "server");
    assert_eq!(names, ["disk.qcow2"]);
    assert_eq!(fs_err::read(out.join("disk.qcow2")).unwrap(), b"a server");
    let (out, names) = build(Arch::X86_64, "target");
    assert_eq!(names, ["initrd.img", "target.raw.zst", "vmlinuz"]);
    assert_eq!(fs_err::read(out.join("vmlinuz")).unwrap(), b"a kernel");
    let unpacked = zstd::decode_all(fs_err::File::open(out.join("target.raw.zst")).unwrap());
    assert!(unpacked.unwrap() == fs_err::read(&raw).unwrap());
}
