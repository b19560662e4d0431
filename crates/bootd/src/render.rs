//! Templates and a machine become scripts and cloud-init's files.

use std::{collections::BTreeMap, fmt};

use protocol::{Mac, Machine, Plan, SeedUrls, Site};
use serde_json::{Value, json};
use tera::{Context, Tera};
use thiserror::Error;

use crate::{filters, machine::Record};

/// What can be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The script that asks again with the machine's address.
    Boot,
    /// The script that starts the installer.
    Install,
    /// The script that goes on to the disk.
    Local,
    /// The script that refuses an unknown machine.
    Refuse,
    /// cloud-init's `meta-data`.
    MetaData,
    /// cloud-init's `user-data`.
    UserData,
    /// cloud-init's `vendor-data`.
    VendorData,
    /// cloud-init's `network-config`.
    NetworkConfig,
}

impl What {
    /// All of it.
    pub const ALL: [Self; 8] = [
        Self::Boot,
        Self::Install,
        Self::Local,
        Self::Refuse,
        Self::MetaData,
        Self::UserData,
        Self::VendorData,
        Self::NetworkConfig,
    ];
    /// What is rendered for each machine.
    pub const OF_MACHINE: [Self; 6] = [
        Self::Install,
        Self::Local,
        Self::MetaData,
        Self::UserData,
        Self::VendorData,
        Self::NetworkConfig,
    ];

    /// Its name: the last part of its URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot.ipxe",
            Self::Install => "install.ipxe",
            Self::Local => "local.ipxe",
            Self::Refuse => "refuse.ipxe",
            Self::MetaData => "meta-data",
            Self::UserData => "user-data",
            Self::VendorData => "vendor-data",
            Self::NetworkConfig => "network-config",
        }
    }

    /// What has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.name() == name)
    }

    /// Whether it is a script for iPXE.
    pub fn is_script(self) -> bool {
        matches!(
            self,
            Self::Boot | Self::Install | Self::Local | Self::Refuse
        )
    }

    /// Where in a site its template is.
    pub fn usual(self) -> String {
        let folder = if self.is_script() {
            "ipxe"
        } else {
            "cloud-init"
        };
        format!("{folder}/{}.tera", self.name())
    }

    /// The template it is rendered from.
    fn template(self, machine: Option<&Machine>) -> String {
        let usual = self.usual();
        machine
            .and_then(|machine| machine.templates.get(&usual).cloned())
            .unwrap_or(usual)
    }
}

/// What iPXE says of the machine it runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The SMBIOS UUID.
    pub uuid: String,
    /// The serial number.
    pub serial: String,
    /// The product's name.
    pub product: String,
}

/// Why something could not be rendered; names template, line and column.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{message}")]
pub struct RenderError {
    message: String,
}

impl From<tera::Error> for RenderError {
    fn from(error: tera::Error) -> Self {
        let message = error.to_string();
        let message = message
            .strip_prefix("error: ")
            .unwrap_or(&message)
            .trim_end()
            .to_owned();
        Self { message }
    }
}

/// The templates of a site.
pub struct Templates {
    /// For machines without templates of their own.
    common: Tera,
    /// For those that have some.
    own: BTreeMap<Mac, Tera>,
}

impl Templates {
    /// Parses templates, each a name and a text, for all `machines`.
    pub fn parse(sources: &[(String, String)], machines: &[Machine]) -> Result<Self, RenderError> {
        let own = machines
            .iter()
            .filter(|machine| !machine.templates.is_empty());
        Ok(Self {
            common: tera(common(sources))?,
            own: own
                .map(|machine| Ok((machine.mac, tera(stand_ins(sources, machine))?)))
                .collect::<Result<_, RenderError>>()?,
        })
    }

    /// Renders `what` for a subject.
    pub fn render(&self, what: What, subject: &Subject) -> Result<String, RenderError> {
        let template = what.template(subject.machine);
        let own = subject
            .machine
            .and_then(|machine| self.own.get(&machine.mac));
        let tera = own.unwrap_or(&self.common);
        if !tera.contains_template(&template) {
            return Err(RenderError {
                message: format!("there is no template {template} in the site"),
            });
        }
        let context = Context::from_serialize(&subject.context())?;
        Ok(tera.render(&template, &context)?)
    }
}

/// Parses templates that may include each other.
fn tera<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Tera, RenderError> {
    let mut tera = Tera::new();
    filters::register(&mut tera);
    tera.add_raw_templates(sources)?;
    Ok(tera)
}

/// All but those that are some machine's own.
fn common(sources: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    sources
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .filter(|(name, _)| !name.starts_with("machines/"))
}

/// What `machine` sees: its own templates by their names, so that an error names
/// the right file, and under the names of those they stand in for, so that they
/// are what is included.
fn stand_ins<'a>(
    sources: &'a [(String, String)],
    machine: &'a Machine,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let text = |wanted: &str| {
        let found = sources.iter().find(|(name, _)| name == wanted)?;
        Some(found.1.as_str())
    };
    let own = machine.templates.values();
    let own = own.filter_map(move |name| Some((name.as_str(), text(name)?)));
    let usual = common(sources).filter(|(name, _)| !machine.templates.values().any(|o| o == name));
    own.chain(usual.map(move |(name, common)| {
        let own = machine.templates.get(name).and_then(|own| text(own));
        (name, own.unwrap_or(common))
    }))
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.common.get_template_names())
            .finish()
    }
}

/// What a template is rendered for.
pub struct Subject<'a> {
    /// The site.
    pub site: &'a Site,
    /// The machine, unless it is unknown.
    pub machine: Option<&'a Machine>,
    /// Its record, unless it is unknown.
    pub record: Option<&'a Record>,
    /// The address that asks; none for the first script.
    pub mac: Option<Mac>,
    /// What it said of itself.
    pub asked: Asked,
}

impl Subject<'_> {
    /// What the templates see; `docs/templates.md` lists it.
    fn context(&self) -> Value {
        let Self { site, asked, .. } = self;
        let mut context = json!({
            "lab": site.lab,
            "http": site.http,
            "network": {
                "server": site.network.server,
                "prefix": site.network.prefix,
                "netmask": site.network.netmask,
                "gateway": site.network.gateway,
                "dns": site.network.dns,
                "domain": site.network.domain,
            },
            "ssh_authorized_keys": site.ssh_authorized_keys,
            "install": {
                "mode": site.install.mode,
                "kernel": site.install.kernel,
                "kernel_url": site.content_url(&site.install.kernel),
                "initrd": site.install.initrd,
                "initrd_url": site.content_url(&site.install.initrd),
                "image_url": site.content_url(&site.install.image.file),
                "kernel_args": site.install.kernel_args,
            },
            "asked": { "uuid": asked.uuid, "serial": asked.serial, "product": asked.product },
            "events_url": events_url(site),
        });
        if let Some(mac) = self.mac {
            context["mac"] = json!(mac);
            context["mac_hyphens"] = json!(mac.hexhyp());
            context["seed_url"] = json!(seed_url(site, mac));
        }
        if let Some(machine) = self.machine {
            context["machine"] = json!({
                "name": machine.name,
                "mac": machine.mac,
                "hostname": machine.hostname,
                "packages": machine.packages,
                "kernel_args": machine.kernel_args,
                "disk": machine.disk,
                "extra": machine.extra,
            });
        }
        if let Some(record) = self.record {
            context["state"] = json!(record.state);
            context["reason"] = json!(record.message.clone().unwrap_or_default());
            context["instance_id"] = json!(record.instance_id);
            context["token"] = json!(record.token);
        }
        context
    }
}

/// The installation of `machine` that `record` stands for.
pub fn plan(site: &Site, machine: &Machine, record: &Record) -> Plan {
    let seed = seed_url(site, machine.mac);
    Plan {
        machine: machine.name.clone(),
        mac: machine.mac,
        image_url: site.content_url(&site.install.image.file),
        digest: site.install.image.digest,
        compressed_size: site.install.image.compressed_size,
        raw_size: site.install.image.raw_size,
        disk: machine.disk.clone(),
        seed: SeedUrls {
            meta_data: format!("{seed}meta-data"),
            user_data: format!("{seed}user-data"),
            network_config: format!("{seed}network-config"),
            vendor_data: format!("{seed}vendor-data"),
        },
        instance_id: record.instance_id.clone(),
        token: record.token.clone(),
        events_url: events_url(site),
    }
}

/// Where cloud-init finds the machine's files, with the slash that it wants.
fn seed_url(site: &Site, mac: Mac) -> String {
    format!("{}/cloud-init/{}/", site.http, mac.hexhyp())
}

fn events_url(site: &Site) -> String {
    format!("{}/events", site.http)
}
