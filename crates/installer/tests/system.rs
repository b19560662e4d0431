//! What is done to the installed system, on files that stand for it.

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use common::{Lab, Served, hasty};
use installer::{
    disk::Disk,
    gpt::{self, Partition},
    seed::Seed,
};

/// A system's root with what an earlier boot of the image left in it.
fn used_root(lab: &Lab) -> std::path::PathBuf {
    let root = lab.folder().join("root");
    let cloud = root.join("var/lib/cloud");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(cloud.join("instances/i-1/sem")).unwrap();
    fs::create_dir_all(cloud.join("sem")).unwrap();
    fs::create_dir_all(cloud.join("seed/nocloud-net")).unwrap();
    fs::create_dir_all(cloud.join("scripts/per-boot")).unwrap();
    symlink("/var/lib/cloud/instances/i-1", cloud.join("instance")).unwrap();
    root
}

fn serve_seed(lab: &Lab) {
    for name in ["meta-data", "user-data", "network-config", "vendor-data"] {
        let body = format!("{name} of target1").into_bytes();
        lab.server.serve(
            &format!("/{name}"),
            Served {
                body,
                ..Served::default()
            },
        );
    }
}

#[test]
fn the_seed_is_planted_and_what_was_there_is_gone() {
    let lab = Lab::new();
    serve_seed(&lab);
    let root = used_root(&lab);
    let seed = Seed::fetch(&lab.plan, &hasty()).unwrap();
    seed.plant(&root).unwrap();
    seed.plant(&root).unwrap(); // again, as after an interruption
    let cloud = root.join("var/lib/cloud");
    for name in ["meta-data", "user-data", "network-config", "vendor-data"] {
        let path = cloud.join("seed/nocloud").join(name);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{name} of target1")
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    for gone in ["instance", "instances", "sem", "seed/nocloud-net"] {
        assert!(
            fs::symlink_metadata(cloud.join(gone)).is_err(),
            "{gone} is still there"
        );
    }
    assert!(
        cloud.join("scripts/per-boot").is_dir(),
        "more was removed than what a boot leaves"
    );
}

#[test]
fn a_seed_that_the_server_cannot_render_is_an_error_that_says_so() {
    let lab = Lab::new();
    serve_seed(&lab);
    lab.server.serve(
        "/user-data",
        Served {
            busy: 99,
            ..Served::default()
        },
    );
    let error = format!("{:#}", Seed::fetch(&lab.plan, &hasty()).err().unwrap());
    assert!(
        error.contains("/user-data: gave up after 3 tries"),
        "{error}"
    );
    assert!(error.contains("503 Service Unavailable: busy"), "{error}");
}

#[test]
fn a_file_system_that_is_no_root_is_not_touched() {
    let lab = Lab::new();
    serve_seed(&lab);
    let root = lab.folder().join("other");
    fs::create_dir(&root).unwrap();
    let error = Seed::fetch(&lab.plan, &hasty())
        .unwrap()
        .plant(&root)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a system's root"), "{error}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

/// The first MiB of a disk whose GPT has these partitions: number, first and last sector.
fn head(partitions: &[(usize, u64, u64)]) -> Vec<u8> {
    let mut head = vec![0; 1 << 20];
    head[512..520].copy_from_slice(b"EFI PART");
    head[512 + 72..][..8].copy_from_slice(&2u64.to_le_bytes());
    head[512 + 80..][..4].copy_from_slice(&128u32.to_le_bytes());
    head[512 + 84..][..4].copy_from_slice(&128u32.to_le_bytes());
    for (number, first, last) in partitions {
        let entry = &mut head[1024 + (number - 1) * 128..][..128];
        entry[..16].copy_from_slice(&[7; 16]);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    head
}

/// A disk of 64 MiB, with an ext4 superblock of this label at each of these MiB.
fn disk(lab: &Lab, file_systems: &[(u64, &str)]) -> Disk {
    let path = lab.folder().join("parts");
    fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let disk = Disk::open(&path).unwrap();
    for (mib, label) in file_systems {
        let mut superblock = vec![0; 1024];
        superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        superblock[0x78..][..label.len()].copy_from_slice(label.as_bytes());
        disk.write((mib << 20) + 1024, &superblock).unwrap();
    }
    disk
}

fn mib(number: u32, start: u64, length: u64) -> Partition {
    Partition {
        number,
        start: start << 20,
        length: length << 20,
    }
}

#[test]
fn the_root_is_found_by_its_label_or_its_size() {
    let lab = Lab::new();
    let sectors = |mib: u64| mib << 11;
    let table = head(&[
        (15, sectors(1), sectors(5) - 1),
        (1, sectors(5), sectors(10) - 1),
        (2, sectors(10), sectors(60) - 1),
    ]);
    let all = gpt::partitions(&table).unwrap();
    assert_eq!(all, [mib(1, 5, 5), mib(2, 10, 50), mib(15, 1, 4)]);
    let labelled = disk(&lab, &[(5, "cloudimg-rootfs"), (10, "data")]);
    assert_eq!(gpt::root(&labelled, &all).unwrap().number, 1);
    let unlabelled = disk(&lab, &[(5, "boot"), (10, "")]);
    assert_eq!(gpt::root(&unlabelled, &all).unwrap().number, 2);
    let none = gpt::root(&disk(&lab, &[]), &all).unwrap_err().to_string();
    assert!(none.contains("none of the image's 3 partitions"), "{none}");
}

#[test]
fn damaged_tables_are_errors_and_not_panics() {
    let error = |head: &[u8]| gpt::partitions(head).unwrap_err().to_string();
    assert!(error(&[]).contains("not within its first 0 bytes"));
    assert!(error(&vec![0; 1 << 20]).contains("no GPT"));
    let mut far = head(&[]);
    far[512 + 72..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    error(&far);
    let mut many = head(&[]);
    many[512 + 80..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&many).contains("4294967295 entries"));
    error(&head(&[(1, 100, 99)]));
    error(&head(&[(1, 0, u64::MAX)]));
    // past the end of the disk: there, but never the root
    let lab = Lab::new();
    let table = head(&[(1, 1 << 11, 1 << 40)]);
    gpt::root(
        &disk(&lab, &[(1, "cloudimg-rootfs")]),
        &gpt::partitions(&table).unwrap(),
    )
    .unwrap_err();
}

#[test]
fn zeros_are_written_where_there_is_old_data_and_only_there() {
    let lab = Lab::new();
    let path = lab.folder().join("sparse");
    fs::File::create(&path).unwrap().set_len(8 << 20).unwrap();
    let disk = Disk::open(&path).unwrap();
    disk.write(2 << 20, &vec![0xff; 1 << 20]).unwrap();
    disk.write(0, &vec![0; 8 << 20]).unwrap();
    assert!(
        fs::read(&path).unwrap().iter().all(|byte| *byte == 0),
        "old data shines through"
    );
    let used = fs::metadata(&path).unwrap().blocks() * 512;
    assert!(used <= 2 << 20, "{used} bytes are used for zeros");
}

#[test]
fn a_disk_that_lies_about_being_zeroed_is_found_out() {
    let lab = Lab::new();
    let mut disk = disk(&lab, &[]);
    disk.is_blank_to(64 << 20).unwrap();
    disk.write(0, &[1; 4096]).unwrap();
    let error = disk.is_blank_to(64 << 20).unwrap_err().to_string();
    assert!(error.contains("byte 0 and on isn't"), "{error}");
}
