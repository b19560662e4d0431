//! `lab server push`: the site and the content disk on the running server.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use serde::Serialize;

use crate::fsutil;
use crate::ssh;
use crate::state::{LabArgs, LabPaths};
use crate::vm::State;

/// Bring site and content of the running server up to date.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// What was pushed is noted here.
    #[arg(long)]
    out: PathBuf,
}

/// What the server has now.
#[derive(Debug, Serialize)]
struct Pushed<'a> {
    /// Which installation of the server.
    instance: &'a str,
    /// The site's digest, its name on the server.
    site: &'a str,
}

/// Pushes what differs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let State::Running(record) = State::of(&lab.vm("server"))? else {
        anyhow::bail!("the server does not run; `make up` starts it");
    };
    // what the server has is not known until this has ended
    fsutil::remove_if_there(&args.out)?;
    let record = crate::vm::refresh_content(&lab, record)?;
    push_content(&lab)?;
    let site = push_site(&lab)?;
    let pushed = Pushed {
        instance: &record.instance,
        site: &site,
    };
    let text = serde_json::to_string_pretty(&pushed)? + "\n";
    fsutil::write_atomically(&args.out, text.as_bytes(), 0o644)
}

/// Has the server take files from the content disk, if it shows another one.
fn push_content(lab: &LabPaths) -> anyhow::Result<()> {
    let list = lab.root().join("content.json");
    let digest = blake3::hash(&fs::read(&list)?).to_hex();
    // the device tells too: a disk that was swapped for an equal one is another
    let script = format!(
        "now=\"{digest} $(readlink -f /dev/disk/by-label/CONTENT)\"; \
         [ \"$(cat /run/lab-content 2>/dev/null)\" = \"$now\" ] || {{ sudo /usr/local/sbin/lab-content && echo \"$now\" | sudo tee /run/lab-content >/dev/null; }}"
    );
    ssh::on_server(lab, &script)
        .context("the server could not take the content disk")
        .map(drop)
}

fn push_site(lab: &LabPaths) -> anyhow::Result<String> {
    let folder = lab.root().join("site");
    let (archive, digest) = archive(&folder)?;
    let script = format!("sudo /usr/local/sbin/lab-site {digest}");
    ssh::on_server_with(lab, &script, &archive).context("the server refused the site")?;
    Ok(digest)
}

/// The folder as a tar, the same bytes for the same files, and its digest.
fn archive(folder: &Path) -> anyhow::Result<(Vec<u8>, String)> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    for entry in walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .min_depth(1)
    {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder)?;
            builder.append_path_with_name(entry.path(), name)?;
        }
    }
    let bytes = builder.into_inner()?;
    let digest = blake3::hash(&bytes).to_hex()[..32].to_owned();
    Ok((bytes, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_the_same_digest_wherever_and_whenever_it_was_made() {
        let make = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("ipxe")).unwrap();
            fs::write(dir.path().join("ipxe/boot.ipxe.tera"), text).unwrap();
            fs::write(dir.path().join("site.json"), "{}").unwrap();
            archive(dir.path()).unwrap().1
        };
        assert_eq!(make("a"), make("a"));
        assert_ne!(make("a"), make("b"));
    }
}
