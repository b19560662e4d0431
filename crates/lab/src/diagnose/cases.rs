//! Each usual cause: a lab that is broken in that way, and what is said of it.
//!
//! Texts of OVMF are what it printed when it was broken so (QEMU 10.0, the
//! firmware of Debian 13); those of the server's logs have its formats.

use super::{Line, Names, Source, diagnose, last_lines};
use crate::target::{Console, Meaning, Point, Track};

const NBP: &str = ">>Start PXE over IPv4.\r\n  Station IP address is 192.168.105.100\r\n\r\n  Server IP address is 192.168.105.1\r\n  NBP filename is ipxe.efi\r\n";
const LOADED: &str = "  NBP filesize is 1024 Bytes\r\n Downloading NBP file...\r\n\r\n  NBP file downloaded successfully.\r\nBdsDxe: loading Boot0002 \"UEFI PXEv4 (MAC:5254004C4201)\" from PciRoot(0x0)/Pci(0x3,0x0)/MAC(5254004C4201,0x1)/IPv4(0.0.0.0,0x0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)\r\n";
/// Of a machine without PXE; as edk2's `HttpBootDxe` has the texts.
const BY_HTTP: &str = ">>Start HTTP Boot over IPv4.....\r\n  Station IP address is 192.168.105.100\r\n\r\n  URI: http://192.168.105.1/boot/ipxe.efi\r\n";
const LOADED_BY_HTTP: &str = "  File Size: 1044480 Bytes\r\n\r  Downloading...1%\r  Downloading...99%\r  Downloading...100%\r\n";
const DISK_IS_BLANK: &str = "\u{1b}[2J\u{1b}[01;01H\u{1b}[=3hBdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x2,0x0): Not Found\r\n";
const IPXE: &str = "iPXE initialising devices...ok\r\n\r\niPXE 1.21.1+ -- Open Source Network Boot Firmware -- https://ipxe.org\r\nConfiguring (net0 52:54:00:4c:42:01)...... ok\r\n";
const DISCOVER: Line2 = (Source::Dhcp, "DHCPDISCOVER from 52:54:00:4c:42:01 via lab0");
const OFFER: Line2 = (
    Source::Dhcp,
    "DHCPOFFER on 192.168.105.100 to 52:54:00:4c:42:01 via lab0",
);

type Line2 = (Source, &'static str);

/// What is said of a machine with this console, and these lines of others.
/// `at` is where bootd's events have brought it, if it came further by them.
fn said(console: &[&str], others: &[Line2], at: Option<Point>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("serial.log");
    fs_err::write(&log, console.concat()).unwrap();
    let mut track = Track::new();
    for seen in Console::open(&log).read() {
        if let Meaning::Reached(point) = seen.meaning {
            track.console(point, seen.at);
        }
    }
    let mut lines: Vec<Line> = others
        .iter()
        .map(|(source, text)| Line::new(*source, *text))
        .collect();
    lines.extend(last_lines(&log, track.from, 300));
    let at = at.map_or(track.at, |at| at.max(track.at));
    let names = Names {
        lab: "lab",
        vm: "target1",
    };
    let diagnosis = diagnose(at.about().id, &lines, names).unwrap();
    let by = diagnosis.shown_by.map_or("nothing".to_owned(), |line| {
        format!("{}: {}", line.source, line.text)
    });
    format!("{} by {by}", diagnosis.id)
}

#[test]
fn no_offer() {
    let log = [
        DISK_IS_BLANK,
        "\r\n>>Start PXE over IPv4.\r\n  PXE-E18: Server response timeout.\r\n",
    ];
    assert_eq!(
        said(&log, &[], None),
        "no-offer by serial: PXE-E18: Server response timeout."
    );
    let full = (
        Source::Dhcp,
        "DHCPDISCOVER from 52:54:00:4c:42:01 via lab0: network 192.168.105.0/24: no free leases",
    );
    assert!(said(&[">>Start PXE over IPv4."], &[full], None).contains("no free leases"));
}

#[test]
fn an_offer_without_a_file_name() {
    let log = [
        DISK_IS_BLANK,
        "\r\n>>Start PXE over IPv4.\r\n  PXE-E16: No valid offer received.\r\n",
    ];
    let expected = "no-file-name by serial: PXE-E16: No valid offer received.";
    assert_eq!(said(&log, &[], None), expected);
    assert_eq!(said(&log, &[DISCOVER, OFFER], None), expected);
    // while it still waits, only the server's log shows it
    assert_eq!(
        said(&[">>Start PXE over IPv4."], &[DISCOVER, OFFER], None),
        "no-file-name by dhcp: DHCPOFFER on 192.168.105.100 to 52:54:00:4c:42:01 via lab0"
    );
}

#[test]
fn a_tftp_server_that_does_not_answer_or_has_no_such_file() {
    let silent = [NBP, "  PXE-E18: Server response timeout.\r\n"];
    assert_eq!(
        said(&silent, &[], None),
        "tftp-timeout by serial: PXE-E18: Server response timeout."
    );
    let missing = [
        NBP,
        "  NBP filesize is 0 Bytes\r\n  PXE-E23: Client received TFTP error from server.\r\n",
    ];
    assert_eq!(
        said(&missing, &[], None),
        "tftp-no-file by serial: PXE-E23: Client received TFTP error from server."
    );
}

#[test]
fn a_web_server_that_does_not_give_the_boot_program() {
    let of = |text: &str, others: &[Line2]| said(&[DISK_IS_BLANK, BY_HTTP, text], others, None);
    let missing = "\r\n  Client Error: 404 Not Found\r\n  Error: Could not retrieve NBP file size from HTTP server.\r\n";
    assert_eq!(
        of(missing, &[DISCOVER, OFFER]),
        "http-boot-no-file by serial: Client Error: 404 Not Found"
    );
    let log = (Source::Nginx, "404 HEAD /boot/ipxe.efi (0 bytes)");
    assert!(of("", &[log]).starts_with("http-boot-no-file by nginx"));
    for silent in [
        "Could not retrieve NBP file size from HTTP server.",
        "Could not establish connection with HTTP server.",
        "Server response timeout.",
    ] {
        let line = format!("Error: {silent}");
        assert_eq!(
            of(&format!("\r\n  {line}\r\n"), &[DISCOVER, OFFER]),
            format!("http-boot-no-answer by serial: {line}")
        );
    }
    let down = (Source::Nginx, "nginx.service is failed");
    assert!(of("", &[down]).starts_with("http-boot-down by nginx"));
    let only = "\r\n  Error: Access forbidden, only HTTPS connection is allowed.\r\n";
    assert!(of(only, &[]).starts_with("http-boot-refused by serial"));
    // one without an address got no offer, and has no need of TFTP
    let tftp = (Source::Tftp, "tftpd-hpa.service is failed");
    assert_eq!(
        said(&[">>Start HTTP Boot over IPv4.....\r\n"], &[tftp], None),
        "no-offer by nothing"
    );
    // what is tried after PXE is not what is wrong
    let after = [
        NBP,
        "  PXE-E23: Client received TFTP error from server.\r\n\r\n",
        BY_HTTP,
        missing,
    ];
    assert!(said(&after, &[], None).starts_with("tftp-no-file by serial"));
    assert!(said(&[NBP], &[tftp], None).starts_with("tftp-down by tftp"));
    let unsupported = "BdsDxe: failed to load Boot0002 \"UEFI HTTPv4 (MAC:5254004C4201)\" from PciRoot(0x0)/Pci(0x3,0x0): Unsupported\r\n";
    assert!(
        said(&[BY_HTTP, LOADED_BY_HTTP, unsupported], &[], None)
            .starts_with("wrong-architecture by serial")
    );
}

#[test]
fn the_file_of_another_architecture() {
    let log = [
        NBP,
        LOADED,
        "BdsDxe: failed to load Boot0002 \"UEFI PXEv4 (MAC:5254004C4201)\" from PciRoot(0x0)/Pci(0x3,0x0): Unsupported\r\n\r\n>>Start HTTP Boot over IPv4.",
    ];
    assert_eq!(
        said(&log, &[], None),
        "wrong-architecture by serial: BdsDxe: failed to load Boot0002 \"UEFI PXEv4 (MAC:5254004C4201)\" from PciRoot(0x0)/Pci(0x3,0x0): Unsupported"
    );
}

#[test]
fn no_script_and_one_that_does_not_render() {
    let log = [NBP, LOADED, IPXE];
    let missing = (Source::Nginx, "404 GET /ipxe/boot.ipxe (153 bytes)");
    assert_eq!(
        said(&log, &[missing], None),
        "script-not-found by nginx: 404 GET /ipxe/boot.ipxe (153 bytes)"
    );
    let down = [
        NBP,
        LOADED,
        IPXE,
        "No script came from http://192.168.105.1/ipxe/52-54-00-4c-42-01\r\n",
    ];
    assert_eq!(
        said(&down, &[], None),
        "script-no-answer by serial: No script came from http://192.168.105.1/ipxe/52-54-00-4c-42-01"
    );
    let broken = (
        Source::Bootd,
        "template: ipxe/install.ipxe.tera:3:17: variable `lan` is not defined",
    );
    assert_eq!(
        said(&log, &[broken], None),
        "template-error by bootd: template: ipxe/install.ipxe.tera:3:17: variable `lan` is not defined"
    );
    let unknown = (Source::Bootd, "refused: unknown machine 52:54:00:4c:42:09 ");
    assert!(said(&log, &[unknown], None).starts_with("unknown-machine by bootd"));
}

#[test]
fn no_kernel_and_no_initrd() {
    let with = |text| said(&[NBP, LOADED, IPXE, text], &[], Some(Point::Script));
    assert_eq!(
        with("The kernel could not be fetched from http://192.168.105.1/content/vmlinuz\r\n"),
        "kernel-not-found by serial: The kernel could not be fetched from http://192.168.105.1/content/vmlinuz"
    );
    assert_eq!(
        with(
            "http://192.168.105.1/content/initrd.img... No such file or directory (https://ipxe.org/2d0c618e)\r\nThe initrd could not be fetched from http://192.168.105.1/content/initrd.img\r\n"
        ),
        "initrd-not-found by serial: The initrd could not be fetched from http://192.168.105.1/content/initrd.img"
    );
    let log = (Source::Nginx, "404 GET /content/vmlinuz (153 bytes)");
    assert!(said(&[IPXE], &[log], Some(Point::Script)).starts_with("kernel-not-found by nginx"));
}

#[test]
fn too_little_memory_for_the_initrd() {
    let ipxe = "http://192.168.105.1/content/initrd.img... Not enough space (https://ipxe.org/34182006)\r\nThe initrd could not be fetched from http://192.168.105.1/content/initrd.img\r\n";
    assert_eq!(
        said(&[IPXE, ipxe], &[], Some(Point::Script)),
        "initrd-memory by serial: http://192.168.105.1/content/initrd.img... Not enough space (https://ipxe.org/34182006)"
    );
    let kernel = "[    0.000000] Linux version 6.12.43\r\n[    1.204120] Initramfs unpacking failed: write error\r\n[    1.504120] Kernel panic - not syncing: No working init found.\r\n";
    assert_eq!(
        said(&[IPXE, kernel], &[], None),
        "initrd-memory by serial: [    1.204120] Initramfs unpacking failed: write error"
    );
}

/// As the installer reports them; `installer::linux` and its tests have the texts.
fn installer_failed(text: &'static str, at: Point) -> String {
    said(&[], &[(Source::Bootd, text)], Some(at))
}

#[test]
fn no_disk_and_one_that_is_too_small() {
    let none = "failed: no disk can take the image of 2306867200 bytes; there are []";
    assert!(installer_failed(none, Point::Plan).starts_with("no-disk by bootd"));
    let named = "failed: there is no /dev/vdb";
    assert!(installer_failed(named, Point::Plan).starts_with("no-disk by bootd"));
    for small in [
        "failed: no disk can take the image of 2306867200 bytes; there are [vda: only 1073741824 bytes]",
        "failed: /dev/vda has 1073741824 bytes, and the image 2306867200; give the machine a larger disk",
    ] {
        assert!(installer_failed(small, Point::Plan).starts_with("disk-too-small by bootd"));
    }
}

#[test]
fn another_image_and_a_server_that_went_away() {
    let digest = "failed: the image's digest is blake3:0a, and the plan says blake3:0b";
    assert!(installer_failed(digest, Point::Streaming).starts_with("digest-mismatch by bootd"));
    // what was good is no sign of what is bad
    let verified = "verified: digest is blake3:0a";
    assert!(installer_failed(verified, Point::Streaming).starts_with("stream-slow by nothing"));
    let gone = "failed: can't get http://192.168.105.1/content/target.raw.zst: gave up at byte 1048576 of 199000000: io: Connection refused";
    assert!(installer_failed(gone, Point::Streaming).starts_with("image-server-gone by bootd"));
    // not heard of by bootd, which went away with the server
    let console = "lab: initramfs started\r\nlab: http://192.168.105.1/content/target.raw.zst: the connection ended early; going on at byte 1048576\r\n";
    assert!(
        said(&[console], &[], Some(Point::Streaming)).starts_with("image-server-gone by serial")
    );
}

#[test]
fn a_disk_without_a_boot_loader() {
    // the disk falls through to the network, where bootd sends it back
    let log = [
        "lab: initramfs started\r\nlab: installed; restarting into the new system\r\n",
        DISK_IS_BLANK,
        NBP,
        LOADED,
        IPXE,
        "Lab lab: target1 (52:54:00:4c:42:01) is installed and boots its own disk.\r\n",
    ];
    assert_eq!(
        said(&log, &[], Some(Point::Rebooting)),
        "grub-not-found by serial: Lab lab: target1 (52:54:00:4c:42:01) is installed and boots its own disk."
    );
    let rescue = "Welcome to GRUB!\r\n\r\nerror: no such device: cloudimg-rootfs.\r\ngrub rescue> ";
    assert_eq!(
        said(&[rescue], &[], Some(Point::Rebooting)),
        "grub-not-found by serial: grub rescue>"
    );
}

#[test]
fn cloud_init_failed_degraded_and_never_reported() {
    let error =
        "failed: cloud-init: error - done; ('scripts_user', RuntimeError('Runparts: 1 failures'))";
    assert!(installer_failed(error, Point::Booted).starts_with("cloud-init-error by bootd"));
    let degraded = "ready: degraded done; DEPRECATED: key x is deprecated";
    assert!(installer_failed(degraded, Point::Ready).starts_with("cloud-init-degraded by bootd"));
    let refused = "[   61.2] lab-report[812]: lab-report: refused: 403 the token is not the one of this machine's plan\r\n";
    assert!(said(&[refused], &[], Some(Point::Login)).starts_with("no-report by serial"));
    assert_eq!(said(&[], &[], Some(Point::Booted)), "no-report by nothing");
}

/// What is looked for is what the programs still say.
#[test]
fn signs_are_in_the_programs_that_write_them() {
    let disks = include_str!("../../../installer/src/linux/disks.rs");
    let disk = include_str!("../../../installer/src/disk.rs");
    let image = include_str!("../../../installer/src/image.rs");
    let fetch = include_str!("../../../installer/src/fetch.rs");
    let run = include_str!("../../../installer/src/linux/run.rs");
    let gpt = include_str!("../../../installer/src/gpt.rs");
    let init = include_str!("../../../installer/lab-init.sh");
    let install = include_str!("../../../../ipxe/install.ipxe.tera");
    let boot = include_str!("../../../../ipxe/boot.ipxe.tera");
    let local = include_str!("../../../../ipxe/local.ipxe.tera");
    let refuse = include_str!("../../../../ipxe/refuse.ipxe.tera");
    let answer = include_str!("../../../bootd/src/http/answer.rs");
    let report = include_str!("../../../../cloud-init/target/lab-report.py.tera");
    for (source, text) in [
        (
            disks,
            "no disk can take the image of {size} bytes; there are [",
        ),
        (disks, "only {has} bytes"),
        (disks, "there is no {plan}"),
        (disk, "give the machine a larger disk"),
        (image, "the image's digest is {digest}"),
        (image, "can't decompress the image"),
        (fetch, "gave up at byte {done}"),
        (fetch, "going on at byte {done}"),
        (fetch, "the server says {status}"),
        (
            fetch,
            "the server's file has {has} bytes, and the plan says",
        ),
        (run, "MiB of memory are free, and {MEMORY}"),
        (run, "can't get the seed"),
        (gpt, "has an ext4 file system"),
        (init, "lab: initramfs started"),
        (init, "lab: no module $module"),
        (install, "The kernel could not be fetched"),
        (install, "The initrd could not be fetched"),
        (boot, "No script came from"),
        (local, "boots its own disk"),
        (refuse, "does not know this machine"),
        (answer, "can't tell this machine what to boot"),
        (report, "cloud-init: "),
        (report, "\"degraded done\""),
        (report, "lab-report: attempt"),
        (report, "lab-report: refused"),
    ] {
        assert!(source.contains(text), "nothing says {text:?} any more");
    }
}
