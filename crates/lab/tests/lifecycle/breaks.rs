//! Labs that are broken in one way each, and what `lab target up`, `lab
//! status` and the timeline say of them. bootd and the installer are the real
//! ones; what firmware and server's logs say is played. `diagnose/cases.rs`
//! has the texts of the rest.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use bootd::render::Asked;
use installer::disk::Disk;
use installer::fetch::{Client, Patience};
use protocol::{Plan, Stage};
use serde_json::Value;

use crate::bench::until;
use crate::play::Play;

/// How the break was told.
struct Told {
    exit: Option<i32>,
    text: String,
    status: Value,
}

impl Told {
    /// What `lab status --json` makes of the target.
    fn target(&self) -> &Value {
        &self.status["vms"][1]
    }

    fn id(&self) -> &str {
        self.target()["diagnosis"]["id"].as_str().unwrap_or("none")
    }

    fn shown_by(&self) -> String {
        let line = &self.target()["diagnosis"]["shown_by"];
        format!(
            "{}: {}",
            line["source"].as_str().unwrap_or("none"),
            line["text"].as_str().unwrap_or_default()
        )
    }
}

/// Brings the target up while `play` breaks it, until `up` gives up.
fn broken(stage: &Play, play: impl FnOnce(&Play)) -> Told {
    let child = stage.up();
    stage.body();
    play(stage);
    let output = child.wait_with_output().unwrap();
    let status = stage.bench.lab(&["status", "--json"]);
    Told {
        exit: output.status.code(),
        text: String::from_utf8(output.stderr).unwrap(),
        status: serde_json::from_slice(&status.stdout).unwrap(),
    }
}

/// The target's console shows this from now on.
fn console(stage: &Play, text: &str) {
    let path = stage.bench.lab.vm("target1").serial_log();
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    log.write_all(text.as_bytes()).unwrap();
}

/// Waits until `up` has seen this event: what the console shows then is after it.
fn followed_to(stage: &Play, event: &str) {
    let timeline = stage.bench.lab.vm("target1").timeline();
    until("an event on the timeline", || {
        fs_err::read_to_string(&timeline)
            .is_ok_and(|text| text.contains(&format!("\"stage\":\"{event}\"")))
    });
}

fn server_logs(stage: &Play, text: &str) {
    fs_err::write(stage.bench.server().dir().join("logs"), text).unwrap();
}

const END: &str = "BdsDxe: No bootable option or device was found.\r\n";

#[test]
fn no_dhcp_server() {
    let stage = Play::new();
    let told = broken(&stage, |stage| {
        console(
            stage,
            "\r\n>>Start PXE over IPv4.\r\n  PXE-E18: Server response timeout.\r\n",
        );
        console(stage, END);
    });
    assert_eq!(told.exit, Some(10), "{}", told.text);
    assert_eq!(told.id(), "no-offer");
    assert_eq!(told.shown_by(), "serial: PXE-E18: Server response timeout.");
    for part in [
        "failed after `firmware asks for network boot`",
        "usual cause: no DHCP offer",
        "shown by serial: PXE-E18: Server response timeout.",
        "look further: make ssh VM=server",
    ] {
        assert!(told.text.contains(part), "{part}: {}", told.text);
    }
    // the status says the same, and so does its exit
    let status = stage.bench.lab(&["status", "--exit-code"]);
    assert_eq!(status.status.code(), Some(10));
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("usual cause: no DHCP offer"), "{status}");
}

#[test]
fn an_offer_without_a_file_name_is_shown_by_the_servers_log_and_on_the_timeline() {
    let stage = Play::new();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        // after the VM's start, however long that takes
        + 3600;
    server_logs(
        &stage,
        &format!(
            "==dhcp\n{now}.500000 server dhcpd[41]: DHCPOFFER on 192.168.105.100 to 52:54:00:4c:42:01 via lab0\n"
        ),
    );
    let told = broken(&stage, |stage| {
        console(stage, "\r\n>>Start PXE over IPv4.\r\n");
        console(stage, END);
    });
    assert_eq!(told.id(), "no-file-name", "{}", told.text);
    assert!(told.shown_by().starts_with("dhcp: DHCPOFFER on"));
    let timeline = stage.bench.lab(&["timeline", "target1", "--offline"]);
    let timeline = String::from_utf8(timeline.stdout).unwrap();
    for part in [
        "host    power-on      powered on",
        "serial  network-boot  >>Start PXE over IPv4.",
        "dhcp                  DHCPOFFER on 192.168.105.100",
        "host    failed        target1 failed after",
    ] {
        assert!(timeline.contains(part), "{part}: {timeline}");
    }
    let trace = stage.bench.lab(&["trace"]);
    let trace: Value = serde_json::from_slice(&trace.stdout).unwrap();
    let spans = trace["traceEvents"].as_array().unwrap();
    assert!(
        spans
            .iter()
            .any(|span| span["name"] == "network-boot" && span["ph"] == "X")
    );
}

#[test]
fn the_boot_program_of_another_architecture() {
    let stage = Play::new();
    let told = broken(&stage, |stage| {
        console(
            stage,
            ">>Start PXE over IPv4.\r\n  NBP filename is ipxe-arm64.efi\r\n\r\n  NBP file downloaded successfully.\r\nBdsDxe: failed to load Boot0002 \"UEFI PXEv4 (MAC:5254004C4201)\" from PciRoot(0x0)/Pci(0x3,0x0)/MAC(5254004C4201,0x1)/IPv4(0.0.0.0,0x0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0): Unsupported\r\n",
        );
        console(stage, END);
    });
    assert_eq!(told.id(), "wrong-architecture", "{}", told.text);
}

#[test]
fn a_template_that_does_not_render() {
    let stage = Play::new();
    let template = stage.bench.path("site/ipxe/install.ipxe.tera");
    fs_err::write(&template, "#!ipxe\necho {{ no_such_thing }}\n").unwrap();
    let told = broken(&stage, |stage| {
        stage.app.script(stage.mac, Asked::default()).unwrap_err();
    });
    assert_eq!(told.exit, Some(14), "{}", told.text);
    assert_eq!(told.target()["kind"], "template");
    assert_eq!(told.id(), "template-error");
    assert!(
        told.shown_by().contains("install.ipxe"),
        "{}",
        told.shown_by()
    );
}

#[test]
fn a_script_that_is_not_there() {
    let stage = Play::new();
    fs_err::remove_file(stage.bench.path("site/ipxe/install.ipxe.tera")).unwrap();
    let told = broken(&stage, |stage| {
        stage.app.script(stage.mac, Asked::default()).unwrap_err();
    });
    assert_eq!(told.exit, Some(14), "{}", told.text);
    assert!(
        told.shown_by()
            .contains("there is no template ipxe/install.ipxe.tera"),
        "{}",
        told.shown_by()
    );
}

#[test]
fn a_kernel_that_is_not_there() {
    let stage = Play::new();
    let told = broken(&stage, |stage| {
        stage.script();
        followed_to(stage, "script");
        console(
            stage,
            "http://192.168.105.1/content/vmlinuz... No such file or directory (https://ipxe.org/2d0c618e)\r\nThe kernel could not be fetched from http://192.168.105.1/content/vmlinuz\r\n",
        );
        console(stage, END);
    });
    assert_eq!(told.id(), "kernel-not-found", "{}", told.text);
}

/// The installer's own words when it fails in this way; the machine reports them.
fn installer_fails(change: impl FnOnce(&mut Plan, &mut Vec<u8>, &mut u64)) -> Told {
    let stage = Play::new();
    broken(&stage, |stage| {
        stage.script();
        let mut plan = stage.app.plan(stage.mac).unwrap();
        let raw = vec![7; 4 << 20];
        let mut packed = zstd::encode_all(&raw[..], 1).unwrap();
        plan.raw_size = raw.len() as u64;
        plan.compressed_size = packed.len() as u64;
        plan.digest = format!("blake3:{}", blake3::hash(&packed).to_hex())
            .parse()
            .unwrap();
        let mut disk_size = plan.raw_size;
        change(&mut plan, &mut packed, &mut disk_size);
        plan.image_url = served(packed, plan.compressed_size);
        let path = stage.bench.path("disk");
        let disk = fs_err::File::create(&path).unwrap();
        disk.set_len(disk_size).unwrap();
        let client = Client::new(Patience {
            tries: 2,
            first_wait: Duration::from_millis(1),
            silence: Duration::from_secs(5),
        });
        let disk = Disk::open(&path).unwrap();
        let Err(error) = installer::image::write(&plan, &disk, &client, |_| ()) else {
            panic!("it was installed")
        };
        stage.report(&plan.token, Stage::Failed, |report| {
            report.message = Some(format!("{error:#}"));
        });
    })
}

/// Serves `body` once; if it is not all that was promised, as a server that
/// goes away in between.
fn served(body: Vec<u8>, promised: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(1) {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    url
}

#[test]
fn a_machine_that_nobody_follows_and_that_stands_still() {
    let stage = Play::new();
    stage.bench.target("target1").unwrap();
    let vm = stage.bench.lab.vm("target1");
    let mut record = stage.bench.running("target1");
    record.started = 1_000_000;
    record.write(&vm).unwrap();
    console(&stage, ">>Start PXE over IPv4.\r\n");
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options()
        .append(true)
        .open(vm.serial_log())
        .unwrap()
        .set_modified(hour_ago)
        .unwrap();
    let status = stage.bench.lab(&["status", "--exit-code"]);
    assert_eq!(status.status.code(), Some(11));
    let text = String::from_utf8(status.stdout).unwrap();
    for part in [
        "install, network-boot  1h00m",
        "target1: stands still: last stage `firmware asks for network boot`, 36",
        "usual cause: no DHCP offer",
        "look further: make ssh VM=server",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_image_with_another_digest() {
    let told = installer_fails(|plan, _, _| {
        plan.digest = format!("blake3:{}", "00".repeat(32)).parse().unwrap();
    });
    assert_eq!(told.exit, Some(10));
    assert_eq!(told.id(), "digest-mismatch", "{}", told.text);
}

#[test]
fn a_disk_that_is_too_small() {
    let told = installer_fails(|_, _, disk_size| *disk_size = 1 << 20);
    assert_eq!(told.id(), "disk-too-small", "{}", told.text);
}

#[test]
fn an_image_server_that_goes_away_half_way() {
    // it has promised all, sends half, and is gone
    let told = installer_fails(|_, packed, _| packed.truncate(packed.len() / 2));
    assert_eq!(told.id(), "image-server-gone", "{}", told.text);
}

#[test]
fn a_disk_without_a_boot_loader() {
    let stage = Play::new();
    let told = broken(&stage, |stage| {
        stage.script();
        let token = stage.app.plan(stage.mac).unwrap().token;
        stage.report(&token, Stage::Rebooting, |_| ());
        followed_to(stage, "rebooting");
        console(
            stage,
            "Welcome to GRUB!\r\n\r\nerror: no such device: cloudimg-rootfs.\r\nEntering rescue mode...\r\ngrub rescue> ",
        );
    });
    assert_eq!(told.id(), "grub-not-found", "{}", told.text);
}

#[test]
fn cloud_init_that_fails_and_one_that_is_degraded() {
    let stage = Play::new();
    let told = broken(&stage, |stage| {
        let token = stage.install_until(Stage::Booted);
        stage.report(&token, Stage::Failed, |report| {
            report.message = Some("cloud-init: error - done; scripts_user failed".to_owned());
        });
    });
    assert_eq!(told.exit, Some(10));
    assert_eq!(told.id(), "cloud-init-error", "{}", told.text);

    let stage = Play::new();
    let told = broken(&stage, |stage| {
        let token = stage.install_until(Stage::Booted);
        stage.report(&token, Stage::Ready, |report| {
            report.message = Some("degraded done; DEPRECATED: a key".to_owned());
        });
    });
    assert_eq!(told.exit, Some(0), "{}", told.text);
    assert_eq!(told.id(), "cloud-init-degraded");
    assert_eq!(told.target()["exit"], 0);
}
