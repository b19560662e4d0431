//! The seed in the installed system, from which cloud-init configures it. It is
//! on the disk, and not only on the server, because cloud-init reads it at every boot.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use protocol::Plan;

use crate::fetch::Client;

/// The files of a `NoCloud` seed, by name.
pub struct Seed(Vec<(&'static str, Vec<u8>)>);

impl Seed {
    /// Fetches what the plan names.
    pub fn fetch(plan: &Plan, client: &Client) -> anyhow::Result<Self> {
        let urls = [
            ("meta-data", &plan.seed.meta_data),
            ("user-data", &plan.seed.user_data),
            ("network-config", &plan.seed.network_config),
            ("vendor-data", &plan.seed.vendor_data),
        ];
        let mut files = Vec::new();
        for (name, url) in urls {
            files.push((name, client.get(url)?));
        }
        Ok(Self(files))
    }

    /// Puts the files into the system whose root is mounted at `root`, and
    /// removes what an earlier run of cloud-init left there.
    pub fn plant(&self, root: &Path) -> anyhow::Result<()> {
        if !root.join("etc").is_dir() {
            bail!(
                "the file system at {} is not a system's root: it has no etc",
                root.display()
            );
        }
        let cloud = root.join("var/lib/cloud");
        for old in [
            "instance",
            "instances",
            "data",
            "sem",
            "seed/nocloud",
            "seed/nocloud-net",
        ] {
            remove(&cloud.join(old))?;
        }
        let folder = cloud.join("seed/nocloud");
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        for (name, bytes) in &self.0 {
            let path = folder.join(name);
            let write = || {
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)?;
                file.write_all(bytes)?;
                file.sync_all()
            };
            write().with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Removes a file, a symlink or a whole folder, if it is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("can't remove {}", path.display()))
}
