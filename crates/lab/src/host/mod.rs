//! What this machine is, found out once and written to `build/host.toml`.
//!
//! [`Host`] is the only door through which the host enters anything else:
//! whoever needs a QEMU binary, a firmware file or a compiler reads it here,
//! so that the key of a task shows it too.

mod accel;
mod apt;
mod builds;
pub mod capacity;
mod distribution;
mod firmware;
mod model;
mod platform;
mod probe;
mod qemu;
mod wishes;

use std::path::PathBuf;
use std::time::Duration;

use images::fetch;
use images::ubuntu::Vendor;

use crate::fsutil;

pub use model::{
    Accel, AccelKind, Arch, Backend, Build, Debian, Distribution, Features, Firmware, Host,
    Network, Os, PerArch, Qemu, Reconnect,
};

/// Options of `lab configure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "build/host.toml")]
    out: PathBuf,
    /// The user's file.
    #[arg(long, value_name = "FILE", default_value = "lab.toml")]
    config: PathBuf,
    /// Where Ubuntu's image server is told.
    #[arg(long, value_name = "FILE", default_value = "vendor/ubuntu.toml")]
    vendor: PathBuf,
}

/// Finds out what this machine is, writes it down, and shows it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let platform = platform::current()?;
    let wishes = wishes::Wishes::read(&args.config, |name| std::env::var(name).ok())?;
    let base = match &wishes.ubuntu_mirror {
        Some(mirror) => mirror.clone(),
        None => Vendor::load(&args.vendor)?.base,
    };
    let ubuntu = format!(
        "{}/releases/{}/",
        base.trim_end_matches('/'),
        wishes.ubuntu_release
    );
    let probed = probe::Probe {
        platform: platform.as_ref(),
        arch: platform::current_arch()?,
        wishes: &wishes,
        ubuntu: &ubuntu,
        reach: &|url| fetch::answers(url, Duration::from_secs(6)),
    }
    .run()?;
    let text = probed.host.to_toml()?;
    let changed = fsutil::write_if_changed(&args.out, text.as_bytes(), 0o644)?;
    print!("{}", table(&probed.rows));
    let state = if changed { "written to" } else { "as it is in" };
    println!("{state} {}", args.out.display());
    Ok(())
}

/// Columns as wide as what is in them.
fn table(rows: &[probe::Row]) -> String {
    let width = |of: fn(&probe::Row) -> &str| rows.iter().map(|r| of(r).len()).max().unwrap_or(0);
    let (what, found) = (width(|r| &r.what), width(|r| &r.found));
    let lines: Vec<String> = rows
        .iter()
        .map(|r| format!("{:what$}  {:found$}  {}\n", r.what, r.found, r.how))
        .collect();
    lines.concat()
}
#[cfg(test)]
pub(crate) use model::tests::sample;
