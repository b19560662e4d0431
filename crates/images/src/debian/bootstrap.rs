//! What `mmdebstrap` is told: pure functions from the wanted image to a
//! command line and the settings of its hooks.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use crate::disk::ROOT_OFFSET;

/// Architecture of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Arch {
    /// The provisioning server's.
    Aarch64,
    /// The targets'.
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// Debian's name of the architecture.
    pub(super) fn debian(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }

    /// GRUB's name of the platform, and so of its EFI programs' format.
    fn grub(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64-efi",
            Self::X86_64 => "x86_64-efi",
        }
    }

    /// Where firmware looks for a boot loader on any disk.
    pub(super) fn loader_name(self) -> &'static str {
        match self {
            Self::Aarch64 => "BOOTAA64.EFI",
            Self::X86_64 => "BOOTX64.EFI",
        }
    }

    /// The serial console of QEMU's `virt` and `q35` machines.
    fn console(self) -> &'static str {
        match self {
            Self::Aarch64 => "ttyAMA0,115200",
            Self::X86_64 => "tty0 console=ttyS0,115200",
        }
    }
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub(super) struct Recipe<'a> {
    pub(super) arch: Arch,
    pub(super) suite: &'a str,
    pub(super) mirror: Option<&'a str>,
    pub(super) root: bool,
}

/// The smallest set that is a cloud image: boots by UEFI, is configured by
/// cloud-init, grows its root, can be reached over SSH.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "grub-common",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "less",
    "netbase",
    "openssh-server",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
    "zstd",
];

/// Left out of every package: half of the size, and none of it is read here.
const LEFT_OUT: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
];

impl Recipe<'_> {
    /// Arguments of `mmdebstrap`, with the hooks' scripts in `hooks`.
    pub(super) fn arguments(&self, hooks: &Path) -> Vec<OsString> {
        let arch = self.arch.debian();
        let mut packages: Vec<String> = PACKAGES.iter().map(ToString::to_string).collect();
        packages.push(format!("grub-efi-{arch}-bin"));
        packages.push(format!("linux-image-cloud-{arch}"));

        let mut arguments: Vec<OsString> = [
            format!("--mode={}", if self.root { "root" } else { "unshare" }),
            "--variant=minbase".to_owned(),
            format!("--architectures={arch}"),
            format!("--include={}", packages.join(",")),
            "--aptopt=Acquire::Languages \"none\"".to_owned(),
            "--aptopt=Acquire::Retries \"5\"".to_owned(),
            "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
            // the image is thrown away when the build is cut short
            "--dpkgopt=force-unsafe-io".to_owned(),
        ]
        .into_iter()
        .map(OsString::from)
        .collect();
        for path in LEFT_OUT {
            arguments.push(format!("--dpkgopt=path-exclude={path}").into());
        }
        for hook in ["essential", "customize"] {
            let mut argument = OsString::from(format!("--{hook}-hook="));
            argument.push(hooks.join(format!("{hook}.sh")));
            arguments.push(argument);
        }
        // the hook writes the disk; mmdebstrap's own output is not wanted
        arguments.extend(["--format=null", self.suite, "-"].map(OsString::from));
        arguments.extend(self.mirror.map(OsString::from));
        arguments
    }

    /// The file `settings` that `customize.sh` reads.
    pub(super) fn settings(&self, out: &Path) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "OUT='{}'", out.display());
        let _ = writeln!(text, "LOADER_FORMAT={}", self.arch.grub());
        let _ = writeln!(text, "CONSOLE='{}'", self.arch.console());
        let _ = writeln!(text, "ROOT_OFFSET={ROOT_OFFSET}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(arch: Arch, root: bool) -> Recipe<'static> {
        Recipe {
            arch,
            suite: "trixie",
            mirror: Some("http://mirror.test/debian"),
            root,
        }
    }

    #[test]
    fn command_line_for_the_server_as_root() {
        insta::assert_debug_snapshot!(recipe(Arch::Aarch64, true).arguments(Path::new("/hooks")));
    }

    #[test]
    fn without_root_user_namespaces_are_used() {
        let arguments = recipe(Arch::X86_64, false).arguments(Path::new("/hooks"));
        assert!(arguments.contains(&"--mode=unshare".into()));
    }

    #[test]
    fn without_a_mirror_mmdebstrap_has_its_own_choice() {
        let recipe = Recipe {
            mirror: None,
            ..recipe(Arch::X86_64, true)
        };
        let arguments = recipe.arguments(Path::new("/hooks"));
        assert_eq!(arguments.last().unwrap(), "-");
    }

    #[test]
    fn settings_of_the_hook() {
        insta::assert_snapshot!(recipe(Arch::X86_64, true).settings(Path::new("/out dir")));
    }
}
