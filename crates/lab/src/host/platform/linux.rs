//! Linux: Debian and Ubuntu by name, others as far as files go.

use std::path::{Path, PathBuf};

use super::{Need, Platform, below, pairs, share_beside};
use crate::host::apt;
use crate::host::model::{AccelKind, Arch, Backend, Firmware, Os};

/// A Linux host.
pub(crate) struct Linux {
    root: PathBuf,
    path: Vec<PathBuf>,
}

impl Linux {
    /// The system whose files are below `root`, with this search path.
    pub(crate) fn new(root: &Path, path: Vec<PathBuf>) -> Self {
        Self {
            root: root.to_owned(),
            path,
        }
    }

    fn os_release(&self, key: &str) -> Option<String> {
        let text = std::fs::read_to_string(below(&self.root, "/etc/os-release")).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    }
}

impl Platform for Linux {
    fn os(&self) -> Os {
        Os::Linux
    }

    fn program_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = self.path.clone();
        for known in ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/libexec"] {
            let known = below(&self.root, known);
            if !dirs.contains(&known) {
                dirs.push(known);
            }
        }
        dirs
    }

    fn descriptor_dirs(&self, qemu: &Path) -> Vec<PathBuf> {
        let mut dirs = vec![below(&self.root, "/etc/qemu/firmware")];
        let beside = share_beside(qemu).map(|share| share.join("qemu/firmware"));
        let usual = below(&self.root, "/usr/share/qemu/firmware");
        for dir in beside.into_iter().chain([usual]) {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }

    fn known_firmware(&self, arch: Arch, _qemu: &Path) -> Vec<Firmware> {
        pairs(
            &self.root,
            match arch {
                Arch::Aarch64 => &[
                    ("/usr/share/AAVMF", "AAVMF_CODE.fd", "AAVMF_VARS.fd"),
                    // Fedora
                    (
                        "/usr/share/edk2/aarch64",
                        "QEMU_EFI-pflash.raw",
                        "vars-template-pflash.raw",
                    ),
                    // Arch Linux
                    ("/usr/share/edk2/aarch64", "QEMU_CODE.fd", "QEMU_VARS.fd"),
                    (
                        "/usr/share/qemu",
                        "edk2-aarch64-code.fd",
                        "edk2-arm-vars.fd",
                    ),
                ],
                Arch::X86_64 => &[
                    ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
                    ("/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),
                    ("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
                    ("/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
                    (
                        "/usr/share/qemu",
                        "edk2-x86_64-code.fd",
                        "edk2-i386-vars.fd",
                    ),
                ],
            },
        )
    }

    fn accelerators(&self, host: Arch, guest: Arch) -> Vec<AccelKind> {
        let kvm = host == guest && below(&self.root, "/dev/kvm").exists();
        let kvm = kvm.then_some(AccelKind::Kvm);
        kvm.into_iter().chain([AccelKind::Tcg]).collect()
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Hub, Backend::Switch, Backend::Bridge]
    }

    /// What the machine has, or what the control group (a container's, say)
    /// lets us have of it.
    fn memory(&self) -> Option<u64> {
        let read = |path: &str| std::fs::read_to_string(below(&self.root, path)).ok();
        let total = read("/proc/meminfo").and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib << 10)
        });
        let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
        total.into_iter().chain(limit).min()
    }

    fn debian_mirror(&self) -> Option<String> {
        // An Ubuntu host's mirror has no Debian.
        if self.os_release("ID")? != "debian" {
            return None;
        }
        let codename = self.os_release("VERSION_CODENAME").unwrap_or_default();
        apt::archive(&self.root, &codename)
    }

    fn debian_keyrings(&self) -> Vec<PathBuf> {
        ["gpg", "pgp"]
            .iter()
            .map(|suffix| {
                let name = format!("/usr/share/keyrings/debian-archive-keyring.{suffix}");
                below(&self.root, &name)
            })
            .collect()
    }

    fn c_linkers(&self, host: Arch, guest: Arch) -> Vec<String> {
        let cross = format!("{guest}-linux-gnu-gcc");
        if host == guest {
            vec!["cc".to_owned(), "gcc".to_owned(), cross]
        } else {
            vec![cross]
        }
    }

    fn remedy(&self, need: Need) -> String {
        let package = match need {
            Need::QemuSystem(Arch::Aarch64) => "qemu-system-arm",
            Need::QemuSystem(Arch::X86_64) => "qemu-system-x86",
            Need::QemuImg => "qemu-utils",
            Need::Firmware(Arch::Aarch64) => "qemu-efi-aarch64",
            Need::Firmware(Arch::X86_64) => "ovmf",
            Need::Mmdebstrap => "mmdebstrap",
            Need::DebianKeyring => "debian-archive-keyring",
            Need::Compiler(_) => {
                return "run scripts/host-packages, or `rustup target add \
                        aarch64-unknown-linux-musl x86_64-unknown-linux-musl`"
                    .to_owned();
            }
        };
        format!("install the package {package} (scripts/host-packages does)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(root: &Path, path: &str, text: &str) {
        let path = below(root, path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    #[test]
    fn kvm_is_a_candidate_only_for_the_hosts_own_architecture() {
        let dir = tempfile::tempdir().unwrap();
        let linux = Linux::new(dir.path(), vec![]);
        let tcg = [AccelKind::Tcg];
        assert_eq!(linux.accelerators(Arch::X86_64, Arch::X86_64), tcg);
        plant(dir.path(), "/dev/kvm", "");
        assert_eq!(
            linux.accelerators(Arch::X86_64, Arch::X86_64),
            [AccelKind::Kvm, AccelKind::Tcg]
        );
        assert_eq!(linux.accelerators(Arch::X86_64, Arch::Aarch64), tcg);
    }

    #[test]
    fn memory_is_the_machines_or_what_the_control_group_allows() {
        let dir = tempfile::tempdir().unwrap();
        let linux = Linux::new(dir.path(), vec![]);
        assert_eq!(linux.memory(), None);
        let meminfo = "MemTotal:        2048 kB\nMemFree:  1 kB\n";
        plant(dir.path(), "/proc/meminfo", meminfo);
        assert_eq!(linux.memory(), Some(2 << 20));
        plant(dir.path(), "/sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(linux.memory(), Some(2 << 20));
        plant(dir.path(), "/sys/fs/cgroup/memory.max", "1048576\n");
        assert_eq!(linux.memory(), Some(1 << 20));
    }

    #[test]
    fn only_a_debian_host_has_a_debian_mirror() {
        let dir = tempfile::tempdir().unwrap();
        let linux = Linux::new(dir.path(), vec![]);
        assert_eq!(linux.debian_mirror(), None);
        plant(
            dir.path(),
            "/etc/apt/sources.list",
            "deb http://mirror.test/debian bookworm main\n",
        );
        plant(
            dir.path(),
            "/etc/os-release",
            "ID=debian\nVERSION_CODENAME=bookworm\n",
        );
        assert_eq!(
            linux.debian_mirror().as_deref(),
            Some("http://mirror.test/debian")
        );
        plant(
            dir.path(),
            "/etc/os-release",
            "ID=\"ubuntu\"\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n",
        );
        assert_eq!(linux.debian_mirror(), None);
    }

    #[test]
    fn descriptors_are_sought_beside_a_qemu_that_was_built_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let qemu = root.join("opt/qemu/bin/qemu-system-x86_64");
        super::super::tests::plant_program(&qemu);
        let dirs = Linux::new(&root, vec![]).descriptor_dirs(&qemu);
        assert_eq!(
            dirs,
            [
                root.join("etc/qemu/firmware"),
                root.join("opt/qemu/share/qemu/firmware"),
                root.join("usr/share/qemu/firmware"),
            ]
        );
    }
}
