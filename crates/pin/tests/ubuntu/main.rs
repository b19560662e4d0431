//! Pins, signatures and fetches, against a server laid out like Ubuntu's.

mod key;
#[path = "../../../images/tests/remote/server.rs"]
#[allow(dead_code, reason = "the downloads' tests use the rest")]
mod server;

use std::time::Duration;

use images::fetch::Patience;
use images::ubuntu::{Lock, What, get};
use pin::{Signer, newest};

use key::TestKey;
use server::{Answer, Server, sha256};

const PATIENCE: Patience = Patience {
    attempts: 2,
    wait: Duration::from_millis(1),
};
const MINIMAL: &str = "ubuntu-24.04-minimal-cloudimg-arm64.img";
const SERVER: &str = "ubuntu-24.04-server-cloudimg-amd64.img";
const KERNEL: &str = "ubuntu-24.04-server-cloudimg-amd64-vmlinuz-generic";
const INITRD: &str = "ubuntu-24.04-server-cloudimg-amd64-initrd-generic";

/// The image server, with a key of its own.
struct Ubuntu {
    server: Server,
    key: TestKey,
}

impl Ubuntu {
    /// One complete release of each kind.
    fn new() -> Self {
        let ubuntu = Self {
            server: Server::start(),
            key: TestKey::new(),
        };
        ubuntu.listing("/minimal/releases/noble/", &["release", "release-20260105"]);
        ubuntu.listing(
            "/releases/noble/",
            &["release-20251220", "release-20260108"],
        );
        ubuntu.folder(
            "/minimal/releases/noble/release-20260105/",
            &[(MINIMAL, "minimal")],
        );
        ubuntu.folder(
            "/releases/noble/release-20260108/",
            &[(SERVER, "server image")],
        );
        ubuntu.folder(
            "/releases/noble/release-20260108/unpacked/",
            &[(KERNEL, "kernel"), (INITRD, "initrd")],
        );
        ubuntu
    }

    fn listing(&self, path: &str, names: &[&str]) {
        let links: Vec<String> = names
            .iter()
            .map(|name| format!("<li><a href=\"{name}/\">{name}/</a></li>"))
            .collect();
        self.file(path, links.concat().as_bytes());
    }

    fn file(&self, path: &str, contents: &[u8]) {
        self.server
            .answer(path, vec![Answer::File(contents.to_vec())]);
    }

    /// Files, their digests, and the signature.
    fn folder(&self, path: &str, files: &[(&str, &str)]) {
        let mut sums = Vec::new();
        for (name, contents) in files {
            self.file(&format!("{path}{name}"), contents.as_bytes());
            sums.push(format!("{} *{name}\n", sha256(contents.as_bytes())));
        }
        let sums = sums.concat();
        self.sign(path, &sums, &self.key.sign(sums.as_bytes()));
    }

    fn sign(&self, path: &str, sums: &str, signature: &[u8]) {
        self.file(&format!("{path}SHA256SUMS"), sums.as_bytes());
        self.file(&format!("{path}SHA256SUMS.gpg"), signature);
    }

    fn pin(&self) -> anyhow::Result<Lock> {
        let signer = Signer::new(&self.key.public(), &self.key.fingerprint())?;
        newest(&self.server.url("/"), "noble", &signer, PATIENCE)
    }

    fn refusal(&self) -> String {
        format!("{:#}", self.pin().unwrap_err())
    }
}

#[test]
fn the_newest_release_is_pinned_with_addresses_digests_and_sizes() {
    let ubuntu = Ubuntu::new();
    let lock = ubuntu.pin().unwrap();
    assert_eq!(
        (lock.date.as_str(), lock.minimal_date.as_str()),
        ("20260108", "20260105")
    );
    let folder = "/releases/noble/release-20260108";
    assert_eq!(
        lock.target.url,
        ubuntu.server.url(&format!("{folder}/{SERVER}"))
    );
    assert_eq!(
        lock.kernel.url,
        ubuntu.server.url(&format!("{folder}/unpacked/{KERNEL}"))
    );
    assert_eq!(lock.initrd.sha256, sha256(b"initrd"));
    assert_eq!(lock.server.sha256, sha256(b"minimal"));
    assert_eq!((lock.server.size, lock.target.size), (7, 12));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock.toml");
    fs_err::write(&path, lock.to_toml().unwrap()).unwrap();
    assert_eq!(Lock::load(&path).unwrap(), lock);
}

#[test]
fn a_list_at_the_top_may_cover_the_folder_below() {
    let ubuntu = Ubuntu::new();
    let folder = "/releases/noble/release-20260108/";
    ubuntu.folder(
        folder,
        &[
            (SERVER, "server image"),
            (&format!("unpacked/{KERNEL}"), "top kernel"),
            (&format!("unpacked/{INITRD}"), "top initrd"),
        ],
    );
    ubuntu.server.answer(
        &format!("{folder}unpacked/SHA256SUMS"),
        vec![Answer::Status(404)],
    );
    let lock = ubuntu.pin().unwrap();
    assert_eq!(
        lock.kernel.url,
        ubuntu.server.url(&format!("{folder}unpacked/{KERNEL}"))
    );
    assert_eq!(lock.kernel.sha256, sha256(b"top kernel"));
}

#[test]
fn a_release_that_is_not_complete_yet_is_passed_over() {
    let ubuntu = Ubuntu::new();
    ubuntu.listing(
        "/minimal/releases/noble/",
        &["release-20260105", "release-20260110", "release-20260111"],
    );
    // One has no signature yet, the other no image for this architecture.
    let other = "ubuntu-24.04-minimal-cloudimg-amd64.img";
    ubuntu.folder("/minimal/releases/noble/release-20260110/", &[(other, "x")]);
    ubuntu.file("/minimal/releases/noble/release-20260111/SHA256SUMS", b"");
    assert_eq!(ubuntu.pin().unwrap().minimal_date, "20260105");

    ubuntu.listing(
        "/minimal/releases/noble/",
        &["release-20260110", "release-20260111"],
    );
    let error = ubuntu.refusal();
    assert!(
        error.contains("release-20260111/ has no signed SHA256SUMS"),
        "{error}"
    );
    assert!(
        error.contains("lists no file *-minimal-cloudimg-arm64.img"),
        "{error}"
    );
}

#[test]
fn digests_that_were_changed_after_signing_are_refused() {
    let ubuntu = Ubuntu::new();
    let path = "/minimal/releases/noble/release-20260105/";
    let signed = format!("{} *{MINIMAL}\n", sha256(b"minimal"));
    let changed = format!("{} *{MINIMAL}\n", sha256(b"evil"));
    ubuntu.sign(path, &changed, &ubuntu.key.sign(signed.as_bytes()));
    let error = ubuntu.refusal();
    assert!(error.contains("SHA256SUMS is not to be trusted"), "{error}");
    assert!(error.contains("no signature by"), "{error}");
}

#[test]
fn a_signature_by_another_key_or_none_is_refused() {
    let ubuntu = Ubuntu::new();
    let path = "/releases/noble/release-20260108/";
    let sums = format!("{} *{SERVER}\n", sha256(b"server image"));
    let other = TestKey::new();
    for signature in [other.sign(sums.as_bytes()), b"nonsense".to_vec()] {
        ubuntu.sign(path, &sums, &signature);
        let error = ubuntu.refusal();
        assert!(error.contains("is not to be trusted"), "{error}");
    }
    // The key file alone is not trusted either.
    let error = Signer::new(&other.public(), &ubuntu.key.fingerprint()).unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
}

#[test]
fn a_server_with_another_layout_is_told() {
    let ubuntu = Ubuntu::new();
    ubuntu.listing("/releases/noble/", &["current"]);
    let error = ubuntu.refusal();
    assert!(
        error.contains("lists no folder release-YYYYMMDD/"),
        "{error}"
    );
    ubuntu
        .server
        .answer("/releases/noble/", vec![Answer::Status(404)]);
    let error = ubuntu.refusal();
    assert!(error.contains("/releases/noble/ is not there"), "{error}");
}

#[test]
fn pinned_files_are_fetched_and_a_removed_or_replaced_one_says_what_to_do() {
    let ubuntu = Ubuntu::new();
    let lock = ubuntu.pin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fetch = |what, name: &str| get::fetch_pinned(&lock, what, &dir.path().join(name), PATIENCE);
    for (what, name, contents) in [
        (What::Server, "a", "minimal"),
        (What::Target, "b", "server image"),
        (What::Kernel, "c", "kernel"),
        (What::Initrd, "d", "initrd"),
    ] {
        fetch(what, name).unwrap();
        assert_eq!(
            fs_err::read_to_string(dir.path().join(name)).unwrap(),
            contents
        );
    }

    let path = format!("/releases/noble/release-20260108/{SERVER}");
    ubuntu.file(&path, b"server imagE");
    let error = format!("{:#}", fetch(What::Target, "e").unwrap_err());
    assert!(
        error.contains("another file than the one that was pinned"),
        "{error}"
    );
    assert!(error.contains("lab-pin"), "{error}");
    ubuntu.server.answer(&path, vec![Answer::Status(404)]);
    let error = format!("{:#}", fetch(What::Target, "e").unwrap_err());
    assert!(
        error.contains(&path) && error.contains("lab-pin"),
        "{error}"
    );
    assert!(!dir.path().join("e").exists());
}

#[test]
fn the_program_writes_the_lock_and_leaves_the_old_one_when_it_fails() {
    let ubuntu = Ubuntu::new();
    let dir = tempfile::tempdir().unwrap();
    let vendor = format!(
        "base = {:?}\nkey = \"key.asc\"\nfingerprint = {:?}\n",
        ubuntu.server.url(""),
        ubuntu.key.fingerprint()
    );
    fs_err::write(dir.path().join("ubuntu.toml"), vendor).unwrap();
    fs_err::write(dir.path().join("key.asc"), ubuntu.key.public()).unwrap();
    let run = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_lab-pin"))
            .current_dir(dir.path())
            .args(["--vendor", "ubuntu.toml", "--out", "new/lock.toml"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = run(&[]);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout, "noble 20260108 pinned in new/lock.toml\n");
    let lock = Lock::load(&dir.path().join("new/lock.toml")).unwrap();
    assert_eq!(lock, ubuntu.pin().unwrap());

    // Pins that are kept ask no server, unless they are of another release.
    let requests = ubuntu.server.log().len();
    let output = run(&["--keep", "new/lock.toml"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ubuntu.server.log().len(), requests);
    let jammy = "[distribution.ubuntu]\nrelease = \"jammy\"\n";
    fs_err::write(dir.path().join("lab.toml"), jammy).unwrap();
    let output = run(&["--keep", "new/lock.toml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("/releases/jammy/ is not there"), "{stderr}");
    fs_err::remove_file(dir.path().join("lab.toml")).unwrap();

    ubuntu.listing("/releases/noble/", &["none"]);
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    assert_eq!(Lock::load(&dir.path().join("new/lock.toml")).unwrap(), lock);
}
