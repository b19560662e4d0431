//! `lab site`: the folder that is pushed to the server, and from which bootd
//! answers: `site.json` and the templates of boot scripts and cloud-init data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use protocol::{Image, Install, Machine, Network, Site};

use super::content::Content;
use crate::config::{Resolved, Target, template_files, usual_template};

/// Make the site that bootd serves, and render all of it once as a check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with the resolved configuration.
    #[arg(long)]
    config: PathBuf,
    /// The list of what is on the content disk.
    #[arg(long)]
    content: PathBuf,
    /// Public half of the lab's SSH key.
    #[arg(long)]
    ssh_key: PathBuf,
    /// Folder with the templates of boot scripts.
    #[arg(long)]
    ipxe: PathBuf,
    /// Folder with the templates of the targets' cloud-init data.
    #[arg(long)]
    cloud_init: PathBuf,
    /// Folder of the project, in which targets have their own templates.
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// Folder to make.
    #[arg(long)]
    out: PathBuf,
}

/// Makes the site anew.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.out.exists() {
        fs::remove_dir_all(&args.out)?;
    }
    fs::create_dir_all(&args.out)?;
    copy_templates(&args.ipxe, &args.out.join("ipxe"))?;
    copy_templates(&args.cloud_init, &args.out.join("cloud-init"))?;
    let mut folders = vec![
        args.ipxe.display().to_string(),
        args.cloud_init.display().to_string(),
    ];
    let config = Resolved::new(&args.config);
    let mut machines = Vec::new();
    for target in config.targets()? {
        let mut own = BTreeMap::new();
        if let Some(folder) = &target.templates {
            own = own_templates(&args.project.join(folder), &target.name, &args.out)?;
            folders.push(format!("{folder} (as machines/{})", target.name));
        }
        machines.push(machine(target, own));
    }
    let site = site(
        &config,
        &Content::load(&args.content)?,
        fs::read_to_string(&args.ssh_key)?.trim(),
        machines,
    )?;
    let json = serde_json::to_string_pretty(&site)? + "\n";
    fs::write(args.out.join("site.json"), json)?;
    bootd::check::check(&args.out)
        .with_context(|| {
            format!(
                "the templates in {} don't render; nothing was sent to the server",
                folders.join(" and ")
            )
        })
        .map(drop)
}

fn site(
    config: &Resolved,
    content: &Content,
    ssh_key: &str,
    machines: Vec<Machine>,
) -> anyhow::Result<Site> {
    let (network, install) = (config.network()?, config.install()?);
    Ok(Site {
        lab: network.lab.clone(),
        http: format!("http://{}", network.server),
        network: Network {
            server: network.server,
            prefix: network.prefix,
            netmask: network.netmask,
            gateway: network.server,
            dns: vec![network.server],
            domain: network.domain.clone(),
        },
        ssh_authorized_keys: vec![ssh_key.to_owned()],
        unknown_machines: install.unknown_machines,
        install: Install {
            mode: install.mode,
            image: Image {
                file: content.image.file.clone(),
                compressed_size: content.image.size,
                raw_size: content.raw_size,
                digest: content.image.digest,
            },
            kernel: content.kernel.file.clone(),
            initrd: content.initrd.file.clone(),
            kernel_args: install.kernel_args,
        },
        machines,
    })
}

fn machine(target: Target, templates: BTreeMap<String, String>) -> Machine {
    Machine {
        hostname: target.name.clone(),
        name: target.name,
        mac: target.mac,
        packages: target.packages,
        kernel_args: target.kernel_args,
        disk: "auto".to_owned(),
        extra: target.extra,
        templates,
    }
}

/// Copies the templates in `folder` to those of `machine` in the site, and says
/// which stands in for which.
fn own_templates(
    folder: &Path,
    machine: &str,
    site: &Path,
) -> anyhow::Result<BTreeMap<String, String>> {
    let names = template_files(folder)
        .with_context(|| format!("the templates of {machine}, by `templates` in lab.toml"))?;
    fs::create_dir_all(site.join("machines").join(machine))?;
    let mut own = BTreeMap::new();
    for name in names {
        let path = format!("machines/{machine}/{name}");
        fs::copy(folder.join(&name), site.join(&path))?;
        own.insert(usual_template(&name), path);
    }
    Ok(own)
}

fn copy_templates(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let (Some("tera"), Some(name)) = (
            path.extension().and_then(std::ffi::OsStr::to_str),
            path.file_name(),
        ) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
