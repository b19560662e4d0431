//! Streaming an image from a server to a disk, and each way in which that fails.

mod common;

use common::{Lab, RAW, Served, compress};

#[test]
fn a_good_image_ends_up_on_the_disk_and_becomes_bootable_last() {
    let lab = Lab::new();
    let (mut disk, held) = lab.write().unwrap();
    lab.assert_unbootable();
    assert_eq!(held.head(), &lab.raw[..1 << 20]);
    held.commit(&mut disk).unwrap();
    let written = std::fs::read(&lab.disk).unwrap();
    assert!(
        written[..RAW] == lab.raw[..],
        "the disk differs from the image"
    );
    assert!(
        written[RAW..RAW + (2 << 20)].iter().all(|b| *b == 0xaa),
        "written past the image"
    );
}

#[test]
fn more_than_one_frame_and_frames_to_skip_are_read() {
    let mut lab = Lab::new();
    let (a, b) = lab.raw.split_at(2_500_000);
    let mut packed = compress(a);
    packed.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    packed.extend(compress(b));
    lab.serve_planned(packed);
    let (mut disk, held) = lab.write().unwrap();
    held.commit(&mut disk).unwrap();
    assert!(std::fs::read(&lab.disk).unwrap()[..RAW] == lab.raw[..]);
}

#[test]
fn another_digest_is_noticed() {
    let mut lab = Lab::new();
    lab.plan.digest = format!("blake3:{}", "00".repeat(32)).parse().unwrap();
    let error = lab.error();
    assert!(
        error.contains("the image's digest is blake3:") && error.contains("0000"),
        "{error}"
    );
}

#[test]
fn one_flipped_bit_is_noticed() {
    let lab = Lab::new();
    let mut served = lab.packed();
    let middle = served.body.len() / 2;
    served.body[middle] ^= 1;
    lab.server.serve("/image", served);
    lab.error();
}

#[test]
fn a_file_shorter_or_longer_than_planned_is_noticed_before_it_is_read() {
    let mut lab = Lab::new();
    let size = lab.plan.compressed_size;
    for wrong in [size - 1, size + 1] {
        lab.plan.compressed_size = wrong;
        let error = lab.error();
        assert!(
            error.contains(&format!("the server's file has {size} bytes")),
            "{error}"
        );
    }
    assert_eq!(lab.server.count("GET /image"), 2, "it was tried again");
}

#[test]
fn a_truncated_stream_is_noticed() {
    let mut lab = Lab::new();
    let body = lab.packed().body;
    lab.serve_planned(body[..body.len() - 100].to_vec());
    let error = lab.error();
    assert!(error.contains("can't decompress the image"), "{error}");
}

#[test]
fn garbage_is_noticed() {
    let mut lab = Lab::new();
    lab.serve_planned(b"this is no zstd frame".repeat(1000));
    let error = lab.error();
    assert!(error.contains("can't decompress the image"), "{error}");
}

#[test]
fn garbage_after_the_image_is_noticed() {
    let mut lab = Lab::new();
    let mut body = lab.packed().body;
    body.extend_from_slice(b"and more");
    lab.serve_planned(body);
    let error = lab.error();
    assert!(error.contains("can't decompress the image"), "{error}");
}

#[test]
fn an_image_of_another_size_is_noticed() {
    let mut lab = Lab::new();
    lab.plan.raw_size += 1;
    let error = lab.error();
    assert!(
        error.contains(&format!(
            "the image has {RAW} bytes, and the plan says {}",
            RAW + 1
        )),
        "{error}"
    );
    lab.plan.raw_size = RAW as u64 - 1;
    let error = lab.error();
    assert!(error.contains("the image is larger"), "{error}");
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let lab = Lab::new();
    let served = lab.packed();
    let cut = served.body.len() / 5;
    lab.server.serve(
        "/image",
        Served {
            cut_at: Some(cut),
            ..served
        },
    );
    let (mut disk, held) = lab.write().unwrap();
    held.commit(&mut disk).unwrap();
    assert!(std::fs::read(&lab.disk).unwrap()[..RAW] == lab.raw[..]);
    assert_eq!(lab.server.count("GET /image"), 6);
}

#[test]
fn a_connection_that_falls_silent_is_given_up_and_resumed() {
    let lab = Lab::new();
    let served = lab.packed();
    let half = served.body.len() / 2 + 1;
    lab.server.serve(
        "/image",
        Served {
            stall_at: Some(half),
            ..served
        },
    );
    let (mut disk, held) = lab.write().unwrap();
    held.commit(&mut disk).unwrap();
    assert_eq!(lab.server.count("GET /image"), 2);
}

#[test]
fn a_server_that_cannot_go_on_in_the_middle_is_not_read_from_the_begin() {
    let lab = Lab::new();
    let served = lab.packed();
    lab.server.serve(
        "/image",
        Served {
            cut_at: Some(1000),
            no_range: true,
            ..served
        },
    );
    let error = lab.error();
    assert!(error.contains("can't go on at byte 1000"), "{error}");
}

#[test]
fn a_server_that_sends_nothing_is_given_up() {
    let lab = Lab::new();
    let served = lab.packed();
    lab.server.serve(
        "/image",
        Served {
            cut_at: Some(0),
            ..served
        },
    );
    let error = lab.error();
    assert!(error.contains("gave up at byte 0"), "{error}");
    assert_eq!(lab.server.count("GET /image"), 3);
}

#[test]
fn a_busy_server_is_asked_again_and_a_missing_file_is_not() {
    let lab = Lab::new();
    let served = lab.packed();
    lab.server.serve("/image", Served { busy: 2, ..served });
    lab.write().unwrap();
    let mut lab = Lab::new();
    lab.plan.image_url = format!("{}/nothing", lab.server.url);
    let error = lab.error();
    assert!(error.contains("404 Not Found: not here"), "{error}");
    assert_eq!(lab.server.count("GET /nothing"), 1);
}

#[test]
fn a_disk_that_is_too_small_is_said_before_anything_is_fetched() {
    let lab = Lab::new();
    std::fs::write(&lab.disk, vec![0xaa; RAW - 1]).unwrap();
    let error = format!("{:#}", lab.write().err().expect("it was written"));
    assert!(
        error.contains(&format!("has {} bytes, and the image {RAW}", RAW - 1)),
        "{error}"
    );
    assert_eq!(lab.server.count("GET"), 0);
    let disk = std::fs::read(&lab.disk).unwrap();
    assert!(disk[..1 << 20].iter().all(|byte| *byte == 0));
}

/// A disk that can be read and not written: what is told is that, and not that
/// the download was stopped because of it.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_cannot_be_written_is_the_reason_that_is_told() {
    use std::os::fd::AsRawFd;

    use installer::{disk::Disk, image};
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    let lab = Lab::new();
    let disk = memfd_create("disk", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&disk, 2 * RAW as u64).unwrap();
    fcntl_add_seals(&disk, SealFlags::WRITE).unwrap();
    let path = format!("/proc/self/fd/{}", disk.as_raw_fd());
    let sealed = Disk::open(path.as_ref()).unwrap();
    let held = image::write(&lab.plan, &sealed, &common::hasty(), |_| ());
    let error = format!("{:#}", held.err().expect("it was written"));
    assert!(
        error.starts_with(&format!("can't write to {path} at byte")),
        "{error}"
    );
    assert!(error.contains("not permitted"), "{error}");
}
