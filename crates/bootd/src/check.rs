//! Everything that a site can be asked for, rendered before anyone asks.

use std::path::Path;

use anyhow::{Context, bail};
use protocol::{Mac, Machine, UnknownMachines};

use crate::{
    machine::Record,
    render::{Asked, Subject, What},
    site::LoadedSite,
};

/// One rendered file: for whom, what, and its text.
pub type Rendered = (String, What, String);

/// Checks the site in `folder`: reads it and renders all of it. The error names every
/// template that fails, with line and column.
pub fn check(folder: &Path) -> anyhow::Result<Vec<Rendered>> {
    let loaded = LoadedSite::read(folder)
        .with_context(|| format!("the site in {} can't be used", folder.display()))?;
    let (mut rendered, mut errors) = (Vec::new(), Vec::new());
    let mut one = |whom: &str, what: What, subject: &Subject| {
        match loaded.templates.render(what, subject) {
            Ok(text) => rendered.push((whom.to_owned(), what, text)),
            Err(error) => {
                let text = error.to_string();
                // the same line is wrong for every machine: say it once
                if !errors.iter().any(|(_, known)| *known == text) {
                    errors.push((format!("{} for {whom}", what.name()), text));
                }
            }
        }
    };
    let site = &loaded.site;
    let asked = Asked::default;
    let nobody = Subject {
        site,
        machine: None,
        record: None,
        mac: None,
        asked: asked(),
    };
    one("any machine", What::Boot, &nobody);
    let stranger: Mac = "02:00:00:00:00:01".parse()?;
    let unknown = Subject {
        mac: Some(stranger),
        asked: asked(),
        ..nobody
    };
    one("an unknown machine", What::Refuse, &unknown);
    one("an unknown machine", What::Local, &unknown);
    let mut machines = site.machines.clone();
    if site.unknown_machines == UnknownMachines::Install {
        machines.push(unnamed(stranger));
    }
    for machine in &machines {
        let record = Record::new(machine.mac, &machine.name)?;
        let subject = Subject {
            site,
            machine: Some(machine),
            record: Some(&record),
            mac: Some(machine.mac),
            asked: asked(),
        };
        for what in What::OF_MACHINE {
            one(&machine.name, what, &subject);
        }
    }
    if !errors.is_empty() {
        let list: Vec<_> = errors
            .iter()
            .map(|(what, error)| format!("{what}: {error}"))
            .collect();
        bail!(
            "the site in {} has {} error(s):\n{}",
            folder.display(),
            list.len(),
            list.join("\n\n")
        );
    }
    Ok(rendered)
}

/// The machine that stands for an address nobody named, where the site installs those.
pub fn unnamed(mac: Mac) -> Machine {
    let name = format!("m-{}", mac.hexhyp());
    Machine {
        hostname: name.clone(),
        name,
        mac,
        packages: Vec::new(),
        kernel_args: Vec::new(),
        disk: "auto".into(),
        extra: serde_json::Map::new(),
        templates: std::collections::BTreeMap::new(),
    }
}

/// What the machine with this address would get as `what` in its first
/// installation, from the site in `folder`.
pub fn render_one(folder: &Path, mac: Mac, what: What) -> anyhow::Result<String> {
    let loaded = LoadedSite::read(folder)?;
    let machine = loaded.site.machine(mac);
    let record = machine
        .map(|machine| Record::new(mac, &machine.name))
        .transpose()?;
    let subject = Subject {
        site: &loaded.site,
        machine,
        record: record.as_ref(),
        mac: Some(mac),
        asked: Asked::default(),
    };
    Ok(loaded.templates.render(what, &subject)?)
}
