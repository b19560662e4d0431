//! `lab site`: the folder that is pushed to the server, and from which bootd
//! answers: `site.json` and the templates of boot scripts and cloud-init data.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use protocol::{Image, Install, Machine, Network, Site};

use super::content::Content;
use crate::config::{Resolved, Target};

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
    /// Folder to make.
    #[arg(long)]
    out: PathBuf,
}

/// Makes the site anew.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Resolved::new(&args.config);
    let site = site(
        &config,
        &Content::load(&args.content)?,
        fs::read_to_string(&args.ssh_key)?.trim(),
    )?;
    if args.out.exists() {
        fs::remove_dir_all(&args.out)?;
    }
    fs::create_dir_all(&args.out)?;
    let json = serde_json::to_string_pretty(&site)? + "\n";
    fs::write(args.out.join("site.json"), json)?;
    copy_templates(&args.ipxe, &args.out.join("ipxe"))?;
    copy_templates(&args.cloud_init, &args.out.join("cloud-init"))?;
    bootd::check::check(&args.out)
        .with_context(|| {
            format!(
                "the templates in {} and {} don't render; nothing was sent to the server",
                args.ipxe.display(),
                args.cloud_init.display()
            )
        })
        .map(drop)
}

fn site(config: &Resolved, content: &Content, ssh_key: &str) -> anyhow::Result<Site> {
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
            kernel_args: vec![],
        },
        machines: config.targets()?.into_iter().map(machine).collect(),
    })
}

fn machine(target: Target) -> Machine {
    Machine {
        hostname: target.name.clone(),
        name: target.name,
        mac: target.mac,
        packages: target.packages,
        disk: "auto".to_owned(),
        extra: serde_json::Map::default(),
        templates: std::collections::BTreeMap::default(),
    }
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
