//! `lab content`: the content disk, which holds what targets download.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::fsutil;
use images::volume::{Entry, Volume};

/// Write the content disk: kernel, initrd with the installer, image.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The target's kernel.
    #[arg(long)]
    kernel: PathBuf,
    /// The target's initrd, with the installer appended.
    #[arg(long)]
    initrd: PathBuf,
    /// The target's disk, raw and compressed by zstd.
    #[arg(long)]
    image: PathBuf,
    /// The volume to write.
    #[arg(long)]
    out: PathBuf,
    /// The list of what is in the volume, in the volume too.
    #[arg(long)]
    list: PathBuf,
}

/// `content.json`: what a content disk holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// The kernel.
    pub kernel: File,
    /// The initrd.
    pub initrd: File,
    /// The compressed image.
    pub image: File,
    /// Bytes of the disk in the image.
    pub raw_size: u64,
}

/// One file of a content disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct File {
    /// Its name in the volume.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
}

impl Content {
    /// Reads a `content.json`.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).context("`lab content` writes this file")?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a list of content; delete it and run `make up` again",
                path.display()
            )
        })
    }
}

/// Writes the volume and its list.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let content = Content {
        kernel: describe(&args.kernel, "vmlinuz")?,
        initrd: describe(&args.initrd, "initrd.img")?,
        image: describe(&args.image, "target.raw.zst")?,
        raw_size: raw_size(&args.image)?,
    };
    let text = serde_json::to_string_pretty(&content)? + "\n";
    fsutil::write_atomically(&args.list, text.as_bytes(), 0o644)?;
    let entry = |path: &str, source: &Path| Entry {
        path: path.to_owned(),
        source: source.to_owned(),
    };
    Volume {
        label: "CONTENT".to_owned(),
        entries: vec![
            entry("content.json", &args.list),
            entry(&content.kernel.file, &args.kernel),
            entry(&content.initrd.file, &args.initrd),
            entry(&content.image.file, &args.image),
        ],
    }
    .write(&args.out)?;
    Ok(())
}

fn describe(path: &Path, name: &str) -> anyhow::Result<File> {
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(path)?;
    let size = std::io::copy(&mut file, &mut hasher)?;
    anyhow::ensure!(size > 0, "{} is empty", path.display());
    Ok(File {
        file: name.to_owned(),
        size,
        digest: Digest::blake3(*hasher.finalize().as_bytes()),
    })
}

/// Bytes of the disk within a zstd stream, from its header (RFC 8878, 3.1.1.1).
fn raw_size(image: &Path) -> anyhow::Result<u64> {
    let mut head = Vec::new();
    fs::File::open(image)?.take(18).read_to_end(&mut head)?;
    zstd::zstd_safe::get_frame_content_size(&head)
        .ok()
        .flatten()
        .with_context(|| {
            format!(
                "{}: not a zstd stream that tells its size; the installer needs to know it",
                image.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_tells_sizes_and_digests_of_what_is_in_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("kernel"), b"kernel").unwrap();
        fs::write(path("initrd"), b"initrd").unwrap();
        fs::write(path("raw"), vec![7; 300_000]).unwrap();
        images::compress::to_zstd(&path("raw"), &path("image")).unwrap();
        let args = Args {
            kernel: path("kernel"),
            initrd: path("initrd"),
            image: path("image"),
            out: path("content.img"),
            list: path("content.json"),
        };
        run(&args).unwrap();
        let content = Content::load(&path("content.json")).unwrap();
        assert_eq!(content.raw_size, 300_000);
        assert_eq!(content.kernel.size, 6);
        assert_eq!(
            content.kernel.digest.to_string(),
            format!("blake3:{}", blake3::hash(b"kernel").to_hex())
        );
        let volume = fs::read(path("content.img")).unwrap();
        assert!(volume.windows(7).any(|bytes| bytes == b"CONTENT"));
    }

    #[test]
    fn an_image_that_is_not_zstd_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("target.raw.zst");
        fs::write(&image, b"<html>not found</html>").unwrap();
        let error = raw_size(&image).unwrap_err().to_string();
        assert!(error.contains("target.raw.zst"), "{error}");
    }
}
