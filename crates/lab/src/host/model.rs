//! The types of `build/host.toml`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// `build/host.toml`: what was found on this machine. Every field is plain
/// data in a fixed order, with no times in it, so that the same machine gives
/// the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// The operating system.
    pub os: Os,
    /// The processor.
    pub arch: Arch,
    /// What the images are made from.
    pub distribution: Distribution,
    /// QEMU's programs and what they can do.
    pub qemu: Qemu,
    /// UEFI firmware for each architecture of the guests.
    pub firmware: PerArch<Firmware>,
    /// What a guest of each architecture runs under, proven by booting it.
    pub accel: PerArch<Accel>,
    /// How the lab segment is made.
    pub network: Network,
    /// Where Debian packages come from; only where a mirror is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<Debian>,
    /// How programs for the guests are built.
    pub build: PerArch<Build>,
}

impl Host {
    /// Reads `path`, which `lab configure` wrote.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "{} is missing: run `make configure` to find out what this machine has",
                path.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        toml::from_str(&text).with_context(|| {
            format!(
                "{} can't be used: delete it and run `make configure`",
                path.display()
            )
        })
    }

    /// The text that [`Host::load`] reads.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let body = toml::to_string(self).context("cannot write the host's description as TOML")?;
        Ok(format!(
            "# Written by `lab configure`; `make configure` writes it anew.\n{body}"
        ))
    }
}

/// One value for each architecture that a guest can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerArch<T> {
    /// For 64-bit Arm guests, which the server is.
    pub aarch64: T,
    /// For 64-bit x86 guests, which the targets are.
    pub x86_64: T,
}

impl<T> PerArch<T> {
    /// The value for `arch`.
    pub fn get(&self, arch: Arch) -> &T {
        match arch {
            Arch::Aarch64 => &self.aarch64,
            Arch::X86_64 => &self.x86_64,
        }
    }

    /// Makes a value for each architecture, or stops at the first that fails.
    pub fn try_from_fn<E>(mut make: impl FnMut(Arch) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            aarch64: make(Arch::Aarch64)?,
            x86_64: make(Arch::X86_64)?,
        })
    }
}

/// An operating system that the lab runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Os {
    /// Linux, any distribution.
    Linux,
    /// macOS.
    Macos,
}

/// A processor architecture, of the host or of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::X86_64];

    /// The name that QEMU, Rust and `uname -m` on Linux use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The name that Debian, Ubuntu and Go use.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the images are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Ubuntu's cloud images, downloaded.
    Ubuntu,
    /// Images built from Debian's packages.
    Debian,
}

/// QEMU's programs and what they can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Qemu {
    /// As QEMU prints it: `10.0.2`.
    pub version: String,
    /// `qemu-system-aarch64`.
    pub aarch64: PathBuf,
    /// `qemu-system-x86_64`.
    #[serde(rename = "x86_64")]
    pub x86_64: PathBuf,
    /// `qemu-img`.
    pub img: PathBuf,
    /// What differs between versions and matters here.
    pub features: Features,
}

impl Qemu {
    /// The program that runs a guest of `arch`.
    pub fn system(&self, arch: Arch) -> &Path {
        match arch {
            Arch::Aarch64 => &self.aarch64,
            Arch::X86_64 => &self.x86_64,
        }
    }
}

/// What differs between versions of QEMU and matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Features {
    /// `-netdev stream` is there (7.2 and later).
    pub netdev_stream: bool,
    /// Which option makes `-netdev stream` connect again.
    pub reconnect: Reconnect,
    /// RAM can be saved to a file by `migrate file:` (8.2 and later).
    pub migrate_file: bool,
    /// …with pages at fixed places (9.0 and later).
    pub mapped_ram: bool,
}

/// Which option makes `-netdev stream` connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reconnect {
    /// None: a lost connection stays lost.
    None,
    /// `reconnect=SECONDS` (8.0 and later).
    Reconnect,
    /// `reconnect-ms=MILLISECONDS` (9.2 and later).
    ReconnectMs,
}

/// UEFI firmware as two flash images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// The code, used read-only.
    pub code: PathBuf,
    /// Empty variables, copied for each machine.
    pub vars: PathBuf,
}

/// What a guest runs under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accel {
    /// The accelerator.
    pub kind: AccelKind,
    /// The argument of `-cpu`.
    pub cpu: String,
}

/// An accelerator of QEMU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccelKind {
    /// Linux's virtual machines.
    Kvm,
    /// macOS's virtual machines.
    Hvf,
    /// Emulation, which works everywhere.
    Tcg,
}

impl AccelKind {
    /// The argument of `-accel`.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
            Self::Tcg => "tcg,thread=multi",
        }
    }
}

impl fmt::Display for AccelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
            Self::Tcg => "tcg",
        })
    }
}

/// How the lab segment is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The backend.
    pub backend: Backend,
}

/// A way to make the lab segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Hub ports in the server's QEMU and a Unix socket for each target.
    Hub,
    /// A learning switch, in a process of its own.
    Switch,
    /// Apple's vmnet, by QEMU itself, which then runs as root.
    Vmnet,
    /// Apple's vmnet, by a daemon.
    SocketVmnet,
    /// Tap devices on a bridge of Linux's, as root.
    Bridge,
}

/// Where Debian packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// The archive's address, without a suite.
    pub mirror: String,
    /// The keys that sign it.
    pub keyring: PathBuf,
}

/// How programs for guests of one architecture are built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// `cargo build --target`.
    pub target: String,
    /// The program that builds.
    pub cargo: PathBuf,
    /// The compiler, which has the standard library of `target`.
    pub rustc: PathBuf,
    /// What it calls itself: `rustc 1.95.0 (f2d3ce0bd 2026-03-21)`.
    pub version: String,
    /// What links.
    pub linker: PathBuf,
    /// `RUSTFLAGS`, the linker among them.
    pub rustflags: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A description with every kind of value in it.
    pub(crate) fn sample() -> Host {
        let accel = |cpu: &str| Accel {
            kind: AccelKind::Tcg,
            cpu: cpu.to_owned(),
        };
        let firmware = |name: &str| Firmware {
            code: format!("/usr/share/{name}_CODE.fd").into(),
            vars: format!("/usr/share/{name}_VARS.fd").into(),
        };
        let build = |arch: &str| Build {
            target: format!("{arch}-unknown-linux-gnu"),
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            version: "rustc 1.96.0".to_owned(),
            linker: format!("/usr/bin/{arch}-linux-gnu-gcc").into(),
            rustflags: "-Ctarget-feature=+crt-static".to_owned(),
        };
        Host {
            os: Os::Linux,
            arch: Arch::X86_64,
            distribution: Distribution::Debian,
            qemu: Qemu {
                version: "10.0.2".to_owned(),
                aarch64: "/usr/bin/qemu-system-aarch64".into(),
                x86_64: "/usr/bin/qemu-system-x86_64".into(),
                img: "/usr/bin/qemu-img".into(),
                features: Features {
                    netdev_stream: true,
                    reconnect: Reconnect::ReconnectMs,
                    migrate_file: true,
                    mapped_ram: true,
                },
            },
            firmware: PerArch {
                aarch64: firmware("AAVMF"),
                x86_64: firmware("OVMF"),
            },
            accel: PerArch {
                aarch64: accel("cortex-a72"),
                x86_64: accel("max"),
            },
            network: Network {
                backend: Backend::Hub,
            },
            debian: Some(Debian {
                mirror: "http://mirror.test/debian".to_owned(),
                keyring: "/usr/share/keyrings/debian-archive-keyring.gpg".into(),
            }),
            build: PerArch {
                aarch64: build("aarch64"),
                x86_64: build("x86_64"),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.toml");
        let text = sample().to_toml().unwrap();
        fs_err::write(&path, &text).unwrap();
        assert_eq!(Host::load(&path).unwrap(), sample());
        for line in [
            "os = \"linux\"",
            "arch = \"x86_64\"",
            "x86_64 = \"/usr/bin/qemu-system-x86_64\"",
            "[qemu.features]",
            "reconnect = \"reconnect-ms\"",
            "[firmware.aarch64]",
            "[accel.x86_64]",
            "[build.aarch64]",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_missing_or_foreign_file_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.toml");
        let missing = Host::load(&path).unwrap_err().to_string();
        assert!(missing.contains("make configure"), "{missing}");
        let old = sample().to_toml().unwrap().replace("[network]", "[net]");
        fs_err::write(&path, old).unwrap();
        let foreign = format!("{:#}", Host::load(&path).unwrap_err());
        assert!(foreign.contains("unknown field `net`"), "{foreign}");
        assert!(foreign.contains("delete it"), "{foreign}");
    }
}
