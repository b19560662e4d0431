//! `lab.toml` as it is typed: every key optional, none unknown, each value
//! with its place in the text.

use serde::Deserialize;
use toml::Spanned;

use protocol::{InstallMode, UnknownMachines};

use super::model::{BackendChoice, BootWay, DhcpServer, DistributionChoice};

pub(super) type Text = Option<Spanned<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) network: RawNetwork,
    #[serde(default)]
    pub(super) server: RawServer,
    #[serde(default)]
    pub(super) distribution: RawDistribution,
    #[serde(default)]
    pub(super) install: RawInstall,
    pub(super) target: Option<Vec<Spanned<RawTarget>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNetwork {
    pub(super) subnet: Text,
    pub(super) server: Text,
    pub(super) dhcp_range: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) domain: Text,
    pub(super) backend: Option<BackendChoice>,
    pub(super) bridge: Text,
    pub(super) net_uuid: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawServer {
    pub(super) memory: Text,
    pub(super) cpus: Option<Spanned<i64>>,
    pub(super) disk: Text,
    pub(super) dhcp: Option<DhcpServer>,
    pub(super) unknown_machines: Option<UnknownMachines>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDistribution {
    pub(super) name: Option<DistributionChoice>,
    #[serde(default)]
    pub(super) ubuntu: RawUbuntu,
    #[serde(default)]
    pub(super) debian: RawDebian,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUbuntu {
    pub(super) release: Text,
    pub(super) mirror: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDebian {
    pub(super) suite: Text,
    pub(super) mirror: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawInstall {
    pub(super) mode: Option<InstallMode>,
    pub(super) kernel_args: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawTarget {
    pub(super) name: Text,
    pub(super) mac: Text,
    pub(super) memory: Text,
    pub(super) cpus: Option<Spanned<i64>>,
    pub(super) disk: Text,
    pub(super) boot: Option<BootWay>,
    #[serde(default)]
    pub(super) packages: Vec<Spanned<String>>,
    pub(super) kernel_args: Text,
    pub(super) templates: Text,
    pub(super) extra: Option<Spanned<toml::Table>>,
}
