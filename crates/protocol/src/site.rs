//! All that the server knows of the lab: `site.json`.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{Digest, Mac};

mod validate;

pub use validate::kernel_arg;

/// `site.json`, written by the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Site {
    /// The lab's name.
    pub lab: String,
    /// Where machines reach the server, without a slash at the end: `http://192.168.105.1`.
    pub http: String,
    /// The lab segment.
    pub network: Network,
    /// Who may log in to the machines: lines of an `authorized_keys` file.
    pub ssh_authorized_keys: Vec<String>,
    /// What a machine that is not in `machines` is told.
    pub unknown_machines: UnknownMachines,
    /// What is installed, and how.
    pub install: Install,
    /// The machines.
    pub machines: Vec<Machine>,
}

/// The lab segment's addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// The server's address.
    pub server: Ipv4Addr,
    /// Bits of the subnet's prefix.
    pub prefix: u8,
    /// The subnet's mask, the same as `prefix`, for templates.
    pub netmask: Ipv4Addr,
    /// The machines' default gateway.
    pub gateway: Ipv4Addr,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain of the machines' names.
    pub domain: String,
}

/// What a machine that nobody named is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownMachines {
    /// Nothing is booted; its console says what to add to `lab.toml`.
    Refuse,
    /// It boots from its own disk.
    LocalBoot,
    /// It is installed, under a name made from its address.
    Install,
}

/// What is installed, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Install {
    /// How.
    pub mode: InstallMode,
    /// The disk image.
    pub image: Image,
    /// The kernel's file name below `/content/`.
    pub kernel: String,
    /// The initrd's file name below `/content/`, with the installer appended.
    pub initrd: String,
    /// More for the kernel's command line.
    #[serde(default)]
    pub kernel_args: Vec<String>,
}

/// How a machine is installed. There is one way; a file that asks for another
/// is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallMode {
    /// The installer in the initramfs streams the image to the disk.
    Stream,
}

/// A zstd-compressed raw disk image below `/content/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Image {
    /// Its file name.
    pub file: String,
    /// Its size in bytes.
    pub compressed_size: u64,
    /// The size in bytes of the disk image in it.
    pub raw_size: u64,
    /// Its digest, as compressed.
    pub digest: Digest,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its address on the segment's Ethernet.
    pub mac: Mac,
    /// The host name it is given.
    pub hostname: String,
    /// Packages that cloud-init installs.
    #[serde(default)]
    pub packages: Vec<String>,
    /// More for its installer's kernel's command line, after that of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
    /// The disk to install on, as `/dev/vda`; `auto` if left out.
    #[serde(default = "auto")]
    pub disk: String,
    /// Whatever the lab's own templates need; they see it as `machine.extra`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Templates of this machine's own: from a template's usual path in the
    /// site, as `cloud-init/user-data.tera`, to the one that is taken instead,
    /// as `machines/target1/user-data.tera`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, String>,
}

fn auto() -> String {
    "auto".into()
}

/// What is wrong with a `site.json`.
#[derive(Debug, Error)]
pub enum SiteError {
    /// Not the JSON that a site is; says where.
    #[error("not a site: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that can't be.
    #[error("{field}: {why}")]
    Value {
        /// Which value, as `machines[0].name`.
        field: String,
        /// Why it can't be.
        why: String,
    },
}

impl Site {
    /// Reads `site.json` and checks what serde can't: names, addresses, doubles.
    pub fn from_json(json: &str) -> Result<Self, SiteError> {
        let site: Self = serde_json::from_str(json)?;
        site.validate()?;
        Ok(site)
    }

    /// The machine with this address.
    pub fn machine(&self, mac: Mac) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.mac == mac)
    }

    /// The URL of a file of the content disk.
    pub fn content_url(&self, file: &str) -> String {
        format!("{}/content/{file}", self.http)
    }
}

#[cfg(test)]
mod tests;
