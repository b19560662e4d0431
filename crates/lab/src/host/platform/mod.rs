//! What differs between the operating systems that the lab runs on. All of
//! it is behind [`Platform`], one file a system; each can be pointed at a
//! folder that looks like such a system, and so be tested on any.

mod linux;
mod macos;

use std::path::{Path, PathBuf};

use super::model::{AccelKind, Arch, Backend, Firmware, Os};

pub(crate) use linux::Linux;
pub(crate) use macos::Macos;

/// Something that the lab needs from the host, for naming its package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// QEMU's system emulator for an architecture.
    QemuSystem(Arch),
    /// `qemu-img`.
    QemuImg,
    /// UEFI firmware for an architecture.
    Firmware(Arch),
    /// What builds the Debian images.
    Mmdebstrap,
    /// The keys of Debian's archive.
    DebianKeyring,
    /// What builds programs for guests of an architecture.
    Compiler(Arch),
}

/// An operating system, as far as the probe has to know it.
pub(crate) trait Platform: Sync {
    /// Which one it is.
    fn os(&self) -> Os;

    /// Folders in which programs are, in order.
    fn program_dirs(&self) -> Vec<PathBuf>;

    /// Folders with QEMU's firmware descriptors; one in an earlier folder
    /// hides its namesakes in later ones. `qemu` is QEMU's program.
    fn descriptor_dirs(&self, qemu: &Path) -> Vec<PathBuf>;

    /// Where firmware is if no descriptor tells.
    fn known_firmware(&self, arch: Arch, qemu: &Path) -> Vec<Firmware>;

    /// Accelerators that might run a guest of `guest`, best first.
    fn accelerators(&self, host: Arch, guest: Arch) -> Vec<AccelKind>;

    /// Backends of the lab segment that exist here; the first one needs no
    /// root and is what `auto` means.
    fn backends(&self) -> &'static [Backend];

    /// The Debian archive that the host itself uses.
    fn debian_mirror(&self) -> Option<String>;

    /// Files that might hold the keys of Debian's archive.
    fn debian_keyrings(&self) -> Vec<PathBuf>;

    /// C compilers that might link a program for `guest`, by name.
    fn c_linkers(&self, host: Arch, guest: Arch) -> Vec<String>;

    /// What to run to get `need`.
    fn remedy(&self, need: Need) -> String;

    /// Bytes of memory that all VMs and everything else share; none if the
    /// system doesn't say.
    fn memory(&self) -> Option<u64>;

    /// The program called `name`, if it is there.
    fn program(&self, name: &str) -> Option<PathBuf> {
        self.program_dirs()
            .into_iter()
            .map(|dir| dir.join(name))
            .find(|path| is_program(path))
    }
}

/// The platform that this program runs on.
pub(crate) fn current() -> anyhow::Result<Box<dyn Platform>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .collect();
    match std::env::consts::OS {
        "linux" => Ok(Box::new(Linux::new(Path::new("/"), path))),
        "macos" => Ok(Box::new(Macos::new(Path::new("/"), path))),
        other => anyhow::bail!("the lab runs on Linux and macOS, and this is {other}"),
    }
}

/// The processor that this program runs on.
pub(crate) fn current_arch() -> anyhow::Result<Arch> {
    match std::env::consts::ARCH {
        "aarch64" => Ok(Arch::Aarch64),
        "x86_64" => Ok(Arch::X86_64),
        other => anyhow::bail!("the lab runs on aarch64 and x86_64, and this is {other}"),
    }
}

/// `path` below `root`, where `root` is `/` but in tests.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Pairs of firmware files, by the folder that holds them.
fn pairs(root: &Path, list: &[(&str, &str, &str)]) -> Vec<Firmware> {
    list.iter()
        .map(|(dir, code, vars)| Firmware {
            code: below(root, dir).join(code),
            vars: below(root, dir).join(vars),
        })
        .collect()
}

/// The folder `share` of the tree that the program `program` is installed in.
fn share_beside(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    Some(real.parent()?.parent()?.join("share"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes an executable file that does nothing.
    pub(crate) fn plant_program(path: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "#!/bin/sh\n").unwrap();
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_is_an_executable_file_in_the_first_folder_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        plant_program(&b.join("tool"));
        fs_err::create_dir_all(a.join("folder")).unwrap();
        fs_err::write(a.join("text"), "").unwrap();
        let linux = Linux::new(dir.path(), vec![a, b.clone()]);
        assert_eq!(linux.program("tool"), Some(b.join("tool")));
        assert_eq!(linux.program("folder"), None);
        assert_eq!(linux.program("text"), None);
    }
}
