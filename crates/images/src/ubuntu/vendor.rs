//! `vendor/ubuntu.toml`: the image server and the key that signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

/// The image server and the key that signs for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// Address of the image server.
    pub base: String,
    /// The public key, armoured; in the file it is relative to the file.
    pub key: PathBuf,
    /// The key's fingerprint, in hexadecimal.
    pub fingerprint: String,
}

impl Vendor {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let mut vendor: Self = toml::from_str(&text)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        if let Some(folder) = path.parent() {
            vendor.key = folder.join(&vendor.key);
        }
        Ok(vendor)
    }
}
