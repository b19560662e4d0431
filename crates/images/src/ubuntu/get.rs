//! `lab-image ubuntu-fetch`: one of the pinned files.

use std::path::PathBuf;

use anyhow::Context as _;

use super::lock::{Lock, What};
use crate::fetch::{self, FetchError, Patience};

/// Download one of the pinned files: resumed if interrupted, digest checked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pins.
    #[arg(long, value_name = "FILE", default_value = "vendor/ubuntu.lock.toml")]
    lock: PathBuf,
    /// Which file.
    #[arg(long)]
    what: What,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Downloads it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lock = Lock::load(&args.lock)?;
    fetch_pinned(&lock, args.what, &args.out, Patience::default())
}

/// Downloads the file `what` of `lock` to `out`.
pub fn fetch_pinned(
    lock: &Lock,
    what: What,
    out: &std::path::Path,
    patience: Patience,
) -> anyhow::Result<()> {
    let pin = lock.pin(what);
    let name = pin.url.rsplit('/').next().unwrap_or(&pin.url);
    let result = fetch::download(&pin.url, &pin.expected(), out, patience, |done| {
        eprintln!("::progress {done} {} bytes {name}", pin.size);
    });
    match result {
        Ok(()) => Ok(()),
        Err(error @ FetchError::Gone { .. }) => Err(error).context(
            "the image server keeps dated folders only for a time: pin the newest with `lab-pin`",
        ),
        Err(error @ FetchError::Different { .. }) => Err(error).context(
            "nothing was kept; if the file was replaced on purpose, pin it with `lab-pin`, which checks the signature",
        ),
        Err(error) => Err(error.into()),
    }
}
