//! `lab.toml` as it is meant: every value present and checked.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use protocol::{InstallMode, Mac, UnknownMachines};

use super::Size;
use crate::host::{Backend, Distribution};

/// How `lab.toml` asks for the lab segment to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendChoice {
    /// The best that this host has without root.
    #[default]
    Auto,
    /// See [`Backend::Hub`].
    Hub,
    /// See [`Backend::Switch`].
    Switch,
    /// See [`Backend::Vmnet`].
    Vmnet,
    /// See [`Backend::SocketVmnet`].
    SocketVmnet,
    /// See [`Backend::Bridge`].
    Bridge,
}

impl BackendChoice {
    /// What is meant, where `auto` is what the host said.
    pub fn resolve(self, auto: Backend) -> Backend {
        match self {
            Self::Auto => auto,
            Self::Hub => Backend::Hub,
            Self::Switch => Backend::Switch,
            Self::Vmnet => Backend::Vmnet,
            Self::SocketVmnet => Backend::SocketVmnet,
            Self::Bridge => Backend::Bridge,
        }
    }
}

impl DistributionChoice {
    /// What is meant, where `auto` is what the host said.
    pub fn resolve(self, auto: Distribution) -> Distribution {
        match self {
            Self::Auto => auto,
            Self::Ubuntu => Distribution::Ubuntu,
            Self::Debian => Distribution::Debian,
        }
    }
}

/// How a target's firmware gets its boot program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootWay {
    /// PXE: by TFTP.
    #[default]
    Pxe,
    /// UEFI HTTP boot.
    Http,
}

/// The DHCP server to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpServer {
    /// ISC's, the reference.
    #[default]
    IscDhcpServer,
    /// dnsmasq, for DHCP only.
    Dnsmasq,
}

/// Which distribution `lab.toml` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistributionChoice {
    /// Ubuntu if its image server answers, else Debian.
    #[default]
    Auto,
    /// Ubuntu.
    Ubuntu,
    /// Debian.
    Debian,
}

/// The lab segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The lab's name.
    pub lab: String,
    /// The segment's addresses, as `ADDRESS/LENGTH`.
    pub subnet: Ipv4Net,
    /// The first address of the subnet.
    pub address: Ipv4Addr,
    /// The subnet's length of prefix.
    pub prefix: u8,
    /// The subnet's mask.
    pub netmask: Ipv4Addr,
    /// The subnet's last address.
    pub broadcast: Ipv4Addr,
    /// The server's static address.
    pub server: Ipv4Addr,
    /// The first address given out by DHCP.
    pub dhcp_start: Ipv4Addr,
    /// The last address given out by DHCP.
    pub dhcp_end: Ipv4Addr,
    /// Domain of the lab's names.
    pub domain: String,
    /// How the segment is made.
    pub backend: Backend,
    /// The bridge of the backend of that name.
    pub bridge: String,
    /// Identity of the segment where vmnet makes it.
    pub net_uuid: Uuid,
    /// The server's address on the lab segment.
    pub server_mac: Mac,
    /// The server's address on its uplink.
    pub uplink_mac: Mac,
}

/// The server VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Memory.
    pub memory: Size,
    /// Processors.
    pub cpus: u32,
    /// Size of its disk.
    pub disk: Size,
    /// The DHCP server to install.
    pub dhcp: DhcpServer,
    /// Identity of the VM.
    pub uuid: Uuid,
}

/// Where Ubuntu comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UbuntuSource {
    /// Code name of the release.
    pub release: String,
    /// Image server, if not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// Where Debian comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebianSource {
    /// Code name of the suite.
    pub suite: String,
    /// Mirror, if not the host's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// How and what to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// How targets are installed.
    pub mode: InstallMode,
    /// More for the command line of the installer's kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
    /// What machines that are not listed are told.
    pub unknown_machines: UnknownMachines,
    /// What is installed, on the server too.
    pub distribution: Distribution,
    /// Where Ubuntu comes from.
    pub ubuntu: UbuntuSource,
    /// Where Debian comes from.
    pub debian: DebianSource,
}

/// What `auto` means on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auto {
    /// The best backend that needs no root.
    pub backend: Backend,
    /// The distribution whose servers answer.
    pub distribution: Distribution,
}

/// A machine to provision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Host name.
    pub name: String,
    /// Address on the lab segment.
    pub mac: Mac,
    /// Memory.
    pub memory: Size,
    /// Processors.
    pub cpus: u32,
    /// Size of its disk.
    pub disk: Size,
    /// How its firmware gets its boot program.
    #[serde(default)]
    pub boot: BootWay,
    /// Packages that cloud-init installs.
    pub packages: Vec<String>,
    /// More for the command line of its installer's kernel, after that of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
    /// The folder, in the project, of templates that stand in for the usual
    /// ones; see [`usual_template`](super::usual_template).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<String>,
    /// The identity that its firmware tells.
    pub uuid: Uuid,
    /// The serial number that its firmware tells.
    pub serial: String,
    /// What the lab's own templates see as `machine.extra`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// All of `lab.toml`, for the lab of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    /// The segment.
    pub network: Network,
    /// The server.
    pub server: Server,
    /// How and what to install.
    pub install: Install,
    /// The machines, in the order of the file.
    pub targets: Vec<Target>,
}
