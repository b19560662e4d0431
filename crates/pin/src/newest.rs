//! `lab-pin`: the newest images, their digests verified.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use images::fetch::{self, FetchError, Patience};
use images::ubuntu::{Lock, Pin, Vendor};

use crate::listing;
use crate::signature::Signer;
use crate::source::Source;

/// How many dated folders are looked into: the newest may be half uploaded.
const FOLDERS: usize = 3;

/// Find Ubuntu's newest images, verify the signatures of their digests, and
/// write both down.
#[derive(Debug, clap::Parser)]
#[command(name = "lab-pin", version, max_term_width = 100)]
pub struct Args {
    /// The image server and its key.
    #[arg(long, value_name = "FILE", default_value = "vendor/ubuntu.toml")]
    vendor: PathBuf,
    /// The user's file, for the release and another server with the same layout.
    #[arg(long, value_name = "FILE", default_value = "lab.toml")]
    config: PathBuf,
    /// Pins to keep, if they are there and are of that release.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "vendor/ubuntu.lock.toml")]
    out: PathBuf,
}

/// Finds, verifies, writes.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let vendor = Vendor::load(&args.vendor)?;
    let source = Source::load(&args.config)?;
    let kept = match &args.keep {
        Some(path) if path.exists() => Some(Lock::load(path)?),
        _ => None,
    };
    let lock = if let Some(kept) = kept.filter(|lock| lock.release == source.release) {
        kept
    } else {
        let signer = Signer::new(&fs_err::read(&vendor.key)?, &vendor.fingerprint)
            .with_context(|| format!("{} can't be used", vendor.key.display()))?;
        let base = source.mirror.as_ref().unwrap_or(&vendor.base);
        newest(base, &source.release, &signer, Patience::default())?
    };
    write(&args.out, lock.to_toml()?.as_bytes())?;
    println!(
        "{} {} pinned in {}",
        lock.release,
        lock.date,
        args.out.display()
    );
    Ok(())
}

/// A reader sees the old file or the new one.
fn write(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs_err::write(&new, contents)?;
    fs_err::rename(&new, path)?;
    Ok(())
}

/// The newest images of `release` on the server `base`.
pub fn newest(
    base: &str,
    release: &str,
    signer: &Signer,
    patience: Patience,
) -> anyhow::Result<Lock> {
    let base = base.trim_end_matches('/');
    let server = Tree {
        url: format!("{base}/minimal/releases/{release}"),
        signer,
        patience,
    };
    let target = Tree {
        url: format!("{base}/releases/{release}"),
        signer,
        patience,
    };
    let (minimal_date, [server]) = server.newest([("", "-minimal-cloudimg-arm64.img")])?;
    let (date, [target, kernel, initrd]) = target.newest([
        ("", "-server-cloudimg-amd64.img"),
        ("unpacked/", "-server-cloudimg-amd64-vmlinuz-generic"),
        ("unpacked/", "-server-cloudimg-amd64-initrd-generic"),
    ])?;
    Ok(Lock {
        release: release.to_owned(),
        date,
        minimal_date,
        server,
        target,
        kernel,
        initrd,
    })
}

/// A folder with dated folders in it.
struct Tree<'a> {
    url: String,
    signer: &'a Signer,
    patience: Patience,
}

impl Tree<'_> {
    /// The newest dated folder that has all of `files`, given by folder and
    /// end of name; and their pins.
    fn newest<const N: usize>(
        &self,
        files: [(&str, &str); N],
    ) -> anyhow::Result<(String, [Pin; N])> {
        let listing = fetch::document(&format!("{}/", self.url), self.patience)
            .context("can't see which releases there are")?;
        let names = listing::dated(&String::from_utf8_lossy(&listing));
        if names.is_empty() {
            bail!("{}/ lists no folder release-YYYYMMDD/", self.url);
        }
        let mut lacks = Vec::new();
        for name in names.iter().take(FOLDERS) {
            match self.pins(name, files)? {
                Ok(pins) => return Ok((name.trim_start_matches("release-").to_owned(), pins)),
                Err(lack) => lacks.push(lack),
            }
        }
        bail!("no complete release: {}", lacks.join("; "));
    }

    /// The pins in the folder `name`, or what it lacks. A signature that is
    /// wrong is an error: no older folder makes that good.
    fn pins<const N: usize>(
        &self,
        name: &str,
        files: [(&str, &str); N],
    ) -> anyhow::Result<Result<[Pin; N], String>> {
        let url = format!("{}/{name}", self.url);
        let Some(top) = self.sums(&format!("{url}/"))? else {
            return Ok(Err(format!("{url}/ has no signed SHA256SUMS")));
        };
        let mut pins = Vec::new();
        let mut own: Option<(&str, Option<String>)> = None;
        for (folder, suffix) in files {
            // The list at the top may cover folders; else they have their own.
            let wanted = listing::entry(&top, suffix).map(|(sha256, path)| {
                let prefixed = path.starts_with(folder);
                let folder = if prefixed { "" } else { folder };
                (sha256, format!("{folder}{path}"))
            });
            let wanted = match wanted {
                None if !folder.is_empty() => {
                    if own.as_ref().is_none_or(|(of, _)| *of != folder) {
                        own = Some((folder, self.sums(&format!("{url}/{folder}"))?));
                    }
                    own.as_ref()
                        .and_then(|(_, sums)| listing::entry(sums.as_deref()?, suffix))
                        .map(|(sha256, path)| (sha256, format!("{folder}{path}")))
                }
                found => found,
            };
            let Some((sha256, path)) = wanted else {
                return Ok(Err(format!("{url}/{folder} lists no file *{suffix}")));
            };
            let url = format!("{url}/{path}");
            let size = match fetch::size(&url, self.patience) {
                Ok(size) => size,
                Err(FetchError::Gone { url }) => return Ok(Err(format!("{url} is not there"))),
                Err(error) => return Err(error.into()),
            };
            pins.push(Pin { url, sha256, size });
        }
        match pins.try_into() {
            Ok(pins) => Ok(Ok(pins)),
            Err(_) => bail!("{url}/: not one pin for each file"),
        }
    }

    /// The `SHA256SUMS` in the folder `url`, verified; `None` if it has none.
    fn sums(&self, url: &str) -> anyhow::Result<Option<String>> {
        let name = format!("{url}SHA256SUMS");
        let (sums, signature) = match (
            fetch::document(&name, self.patience),
            fetch::document(&format!("{name}.gpg"), self.patience),
        ) {
            (Ok(sums), Ok(signature)) => (sums, signature),
            (Err(FetchError::Gone { .. }), _) | (_, Err(FetchError::Gone { .. })) => {
                return Ok(None);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        self.signer.verify(&sums, &signature).with_context(|| {
            format!("{name} is not to be trusted (is a proxy or the mirror changing it?)")
        })?;
        let text = String::from_utf8(sums).with_context(|| format!("{name} is not text"))?;
        Ok(Some(text))
    }
}
