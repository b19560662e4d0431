//! `hermake man`.

use std::fs;

use anyhow::{Context, Result};
use clap::CommandFactory;

use super::args::{Args, Man};

pub(super) fn man(args: &Man) -> Result<u8> {
    let command = Args::command();
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        clap_mangen::generate_to(command, dir)
            .with_context(|| format!("writing to {}", dir.display()))?;
        return Ok(0);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .context("writing the page")?;
    super::print(&String::from_utf8_lossy(&page))?;
    Ok(0)
}
