//! `lab volume`: a FAT volume from files of the host.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Entry, Volume};

/// Write files of the host into a new FAT volume.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Volume label: `CIDATA` for a `NoCloud` seed, `CONTENT` for the content disk.
    #[arg(long)]
    label: String,
    /// The volume to write.
    #[arg(long)]
    out: PathBuf,
    /// Files to put in: `NAME=FILE`, NAME being the path within the volume.
    #[arg(required = true)]
    files: Vec<String>,
}

/// Writes the volume.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let entries = args
        .files
        .iter()
        .map(|file| {
            let (path, source) = file
                .split_once('=')
                .with_context(|| format!("{file:?}: write it as NAME=FILE"))?;
            Ok(Entry {
                path: path.to_owned(),
                source: source.into(),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    Volume {
        label: args.label.clone(),
        entries,
    }
    .write(&args.out)?;
    Ok(())
}
