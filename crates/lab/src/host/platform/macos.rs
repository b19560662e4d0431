//! macOS, with QEMU from Homebrew or `MacPorts`.

use std::path::{Path, PathBuf};

use super::{Need, Platform, below, share_beside};
use crate::host::model::{AccelKind, Arch, Backend, Firmware, Os};

/// A Mac.
pub(crate) struct Macos {
    root: PathBuf,
    path: Vec<PathBuf>,
}

impl Macos {
    /// The system whose files are below `root`, with this search path.
    pub(crate) fn new(root: &Path, path: Vec<PathBuf>) -> Self {
        Self {
            root: root.to_owned(),
            path,
        }
    }

    /// Where packages are installed: Apple silicon, Intel, `MacPorts`.
    fn prefixes(&self) -> impl Iterator<Item = PathBuf> + '_ {
        ["/opt/homebrew", "/usr/local", "/opt/local"]
            .into_iter()
            .map(|prefix| below(&self.root, prefix))
    }
}

impl Platform for Macos {
    fn os(&self) -> Os {
        Os::Macos
    }

    fn program_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = self.path.clone();
        // Homebrew keeps rustup's programs apart from its own rust.
        let known = self
            .prefixes()
            .flat_map(|prefix| [prefix.join("bin"), prefix.join("opt/rustup/bin")]);
        for dir in known.chain([below(&self.root, "/usr/bin")]) {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }

    fn descriptor_dirs(&self, qemu: &Path) -> Vec<PathBuf> {
        share_beside(qemu)
            .into_iter()
            .chain(self.prefixes().map(|prefix| prefix.join("share")))
            .map(|share| share.join("qemu/firmware"))
            .collect()
    }

    fn known_firmware(&self, arch: Arch, qemu: &Path) -> Vec<Firmware> {
        let (code, vars) = match arch {
            Arch::Aarch64 => ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
            Arch::X86_64 => ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        };
        share_beside(qemu)
            .into_iter()
            .chain(self.prefixes().map(|prefix| prefix.join("share")))
            .map(|share| Firmware {
                code: share.join("qemu").join(code),
                vars: share.join("qemu").join(vars),
            })
            .collect()
    }

    fn accelerators(&self, host: Arch, guest: Arch) -> Vec<AccelKind> {
        let hvf = (host == guest).then_some(AccelKind::Hvf);
        hvf.into_iter().chain([AccelKind::Tcg]).collect()
    }

    fn backends(&self) -> &'static [Backend] {
        &[
            Backend::Hub,
            Backend::Switch,
            Backend::SocketVmnet,
            Backend::Vmnet,
        ]
    }

    fn memory(&self) -> Option<u64> {
        let sysctl = below(&self.root, "/usr/sbin/sysctl");
        let output = std::process::Command::new(sysctl)
            .args(["-n", "hw.memsize"])
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }

    fn debian_mirror(&self) -> Option<String> {
        None
    }

    fn debian_keyrings(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn c_linkers(&self, _host: Arch, guest: Arch) -> Vec<String> {
        // Apple's linker makes no ELF files; these come from Homebrew taps.
        vec![
            format!("{guest}-linux-musl-gcc"),
            format!("{guest}-linux-gnu-gcc"),
        ]
    }

    fn remedy(&self, need: Need) -> String {
        match need {
            Need::QemuSystem(_) | Need::QemuImg | Need::Firmware(_) => {
                "run `brew install qemu` (scripts/host-packages does)".to_owned()
            }
            Need::Mmdebstrap | Need::DebianKeyring => {
                "Debian images can't be built on macOS: set distribution.name to ubuntu in lab.toml"
                    .to_owned()
            }
            Need::Compiler(arch) => {
                format!("run `rustup target add {arch}-unknown-linux-musl`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homebrews_qemu_is_found_without_a_path_and_its_firmware_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let cellar = root.join("opt/homebrew/Cellar/qemu/10.0.2");
        let name = "qemu-system-aarch64";
        super::super::tests::plant_program(&cellar.join("bin").join(name));
        let link = root.join("opt/homebrew/bin").join(name);
        fs_err::create_dir_all(link.parent().unwrap()).unwrap();
        fs_err::os::unix::fs::symlink(cellar.join("bin").join(name), &link).unwrap();
        let mac = Macos::new(&root, vec![]);
        let qemu = mac.program(name).unwrap();
        assert_eq!(qemu, link);
        assert_eq!(
            mac.descriptor_dirs(&qemu).first(),
            Some(&cellar.join("share/qemu/firmware"))
        );
        assert_eq!(
            mac.known_firmware(Arch::X86_64, &qemu).first(),
            Some(&Firmware {
                code: cellar.join("share/qemu/edk2-x86_64-code.fd"),
                vars: cellar.join("share/qemu/edk2-i386-vars.fd"),
            })
        );
    }

    #[test]
    fn hvf_is_a_candidate_only_for_the_macs_own_architecture() {
        let mac = Macos::new(Path::new("/"), vec![]);
        assert_eq!(
            mac.accelerators(Arch::Aarch64, Arch::Aarch64),
            [AccelKind::Hvf, AccelKind::Tcg]
        );
        assert_eq!(
            mac.accelerators(Arch::Aarch64, Arch::X86_64),
            [AccelKind::Tcg]
        );
    }
}
