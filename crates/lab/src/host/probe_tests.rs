//! The whole probe on folders that look like a Debian host and like a Mac.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::host::model::{AccelKind, Distribution, Os, Reconnect};
use crate::host::platform::{Linux, Macos};

const LAB: &str = "[distribution]\nname = \"ubuntu\"\n";

/// A QEMU that says a byte, unless it is asked for KVM, which is broken.
const QEMU: &str = "case \"$*\" in --version) echo 'QEMU emulator version VERSION (x)';; \
    *kvm*) echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60;; \
    *) printf U; exec sleep 60;; esac";

/// A rustc with the musl libraries of both architectures and its own linker.
const RUSTC: &str = "case \"$*\" in \
    -vV) printf 'rustc 1.90.0 (x)\\nhost: h\\n';; \
    '--print sysroot') echo ROOT/rust;; \
    *target-libdir*musl) echo ROOT/rust/std;; \
    *target-libdir*) echo /nowhere;; \
    *) while [ $# -gt 2 ]; do shift; done; printf '#!/bin/sh\\necho it runs\\n' >\"$1\"; chmod +x \"$1\";; esac";

fn script(path: &Path, body: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn file(path: &Path) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, "").unwrap();
}

fn toolchain(root: &Path) {
    let body = RUSTC.replace("ROOT", &root.display().to_string());
    script(&root.join("rust/bin/rustc"), &body);
    script(&root.join("rust/bin/cargo"), "");
    file(&root.join("rust/std/libstd-1.rlib"));
    file(&root.join("rust/lib/rustlib/h/bin/rust-lld"));
}

fn qemu(bin: &Path, version: &str) {
    for name in ["qemu-system-aarch64", "qemu-system-x86_64", "qemu-img"] {
        script(&bin.join(name), &QEMU.replace("VERSION", version));
    }
}

fn probe(
    platform: &dyn Platform,
    arch: Arch,
    lab: &str,
    env: &[(&str, &str)],
) -> anyhow::Result<Probed> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.toml");
    fs_err::write(&path, lab).unwrap();
    let wishes = Wishes::read(&path, |name| {
        env.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    })?;
    Probe {
        platform,
        arch,
        wishes: &wishes,
        ubuntu: "http://images.test/",
        reach: &|_| Err("unreachable".to_owned()),
    }
    .run()
}

fn debian(root: &Path, version: &str) -> Linux {
    toolchain(root);
    qemu(&root.join("usr/bin"), version);
    file(&root.join("dev/kvm"));
    for name in [
        "AAVMF/AAVMF_CODE.fd",
        "AAVMF/AAVMF_VARS.fd",
        "OVMF/OVMF_CODE_4M.fd",
        "OVMF/OVMF_VARS_4M.fd",
    ] {
        file(&root.join("usr/share").join(name));
    }
    Linux::new(root, vec![root.join("rust/bin")])
}

#[test]
fn a_linux_host_with_a_broken_kvm() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let probed = probe(&debian(&root, "9.1.0"), Arch::X86_64, LAB, &[]).unwrap();
    let host = probed.host;
    assert_eq!(host.os, Os::Linux);
    assert_eq!(host.distribution, Distribution::Ubuntu);
    assert_eq!(host.accel.x86_64.kind, AccelKind::Tcg);
    assert_eq!(host.qemu.features.reconnect, Reconnect::Reconnect);
    assert_eq!(host.network.backend, Backend::Hub);
    assert_eq!(host.build.aarch64.target, "aarch64-unknown-linux-musl");
    assert_eq!(host.build.x86_64.cargo, root.join("rust/bin/cargo"));
    let row = probed
        .rows
        .iter()
        .find(|row| row.what == "runs x86_64")
        .unwrap();
    assert!(
        row.how.contains("kvm failed: KVM internal error"),
        "{}",
        row.how
    );
}

#[test]
fn the_same_host_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let linux = debian(dir.path(), "10.0.0");
    let once = probe(&linux, Arch::X86_64, LAB, &[]).unwrap().host;
    let twice = probe(&linux, Arch::X86_64, LAB, &[]).unwrap().host;
    assert_eq!(once.to_toml().unwrap(), twice.to_toml().unwrap());
}

#[test]
fn a_mac_with_homebrew() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    toolchain(&root);
    let cellar = root.join("opt/homebrew");
    qemu(&cellar.join("bin"), "10.1.0");
    for name in ["aarch64-code", "arm-vars", "x86_64-code", "i386-vars"] {
        file(&cellar.join(format!("share/qemu/edk2-{name}.fd")));
    }
    let mac = Macos::new(&root, vec![root.join("rust/bin")]);
    let host = probe(&mac, Arch::Aarch64, LAB, &[]).unwrap().host;
    assert_eq!(host.os, Os::Macos);
    assert_eq!(host.accel.aarch64.kind, AccelKind::Hvf);
    assert_eq!(host.accel.aarch64.cpu, "host");
    assert_eq!(host.accel.x86_64.kind, AccelKind::Tcg);
    assert_eq!(host.debian, None);
    assert!(host.build.aarch64.linker.ends_with("rust-lld"));

    let forced = probe(&mac, Arch::Aarch64, LAB, &[("LAB_ACCEL", "tcg")]).unwrap();
    assert_eq!(forced.host.accel.aarch64.kind, AccelKind::Tcg);
    let wish = probe(&mac, Arch::Aarch64, LAB, &[("LAB_BACKEND", "vmnet")]).unwrap();
    assert_eq!(wish.host.network.backend, Backend::Vmnet);
    let error = probe(&mac, Arch::Aarch64, LAB, &[("LAB_BACKEND", "bridge")]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("LAB_BACKEND asks for the backend Bridge"),
        "{error}"
    );
}

#[test]
fn all_that_is_missing_is_named_at_once_with_its_package() {
    let dir = tempfile::tempdir().unwrap();
    let linux = Linux::new(dir.path(), vec![]);
    let error = probe(&linux, Arch::X86_64, "", &[])
        .unwrap_err()
        .to_string();
    let error = error.replace(&dir.path().display().to_string(), "");
    insta::assert_snapshot!(error);
}

#[test]
fn missing_firmware_and_an_old_qemu_are_told_with_the_places() {
    let dir = tempfile::tempdir().unwrap();
    let linux = debian(dir.path(), "10.0.0");
    fs_err::remove_file(dir.path().join("usr/share/OVMF/OVMF_VARS_4M.fd")).unwrap();
    let error = probe(&linux, Arch::X86_64, LAB, &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("UEFI firmware for x86_64"), "{error}");
    assert!(
        error.contains("OVMF_CODE_4M.fd") && error.contains("package ovmf"),
        "{error}"
    );

    qemu(&dir.path().join("usr/bin"), "6.2.0");
    let error = probe(&linux, Arch::X86_64, LAB, &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("QEMU 7.2 or later") && error.contains("6.2.0"),
        "{error}"
    );
}
