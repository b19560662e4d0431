//! `vendor/ubuntu.lock.toml`: exactly which files are used.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::fetch::Expected;

/// Exactly which files are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Code name of the release.
    pub release: String,
    /// Dated folder of the full images.
    pub date: String,
    /// Dated folder of the minimal images.
    pub minimal_date: String,
    /// The server's disk: minimal, arm64, qcow2.
    pub server: Pin,
    /// The target's disk: amd64, qcow2.
    pub target: Pin,
    /// The target's kernel.
    pub kernel: Pin,
    /// The target's initrd.
    pub initrd: Pin,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Where it is.
    pub url: String,
    /// SHA-256 in hexadecimal, from the signed list.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Pin {
    /// What a download of it must give.
    pub fn expected(&self) -> Expected {
        Expected {
            sha256: self.sha256.clone(),
            size: self.size,
        }
    }
}

/// One of the files in the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// The server's disk.
    Server,
    /// The target's disk.
    Target,
    /// The target's kernel.
    Kernel,
    /// The target's initrd.
    Initrd,
}

impl Lock {
    /// Reads `path`, which `lab-pin` wrote.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs_err::read_to_string(path).context("there is no pin yet: `lab-pin` makes one")?;
        toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// The text that [`Lock::load`] reads.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let body = toml::to_string(self).context("cannot write the pins as TOML")?;
        Ok(format!(
            "# Written by `lab-pin` from lists that Ubuntu signed.\n{body}"
        ))
    }

    /// One of the files.
    pub fn pin(&self, what: What) -> &Pin {
        match what {
            What::Server => &self.server,
            What::Target => &self.target,
            What::Kernel => &self.kernel,
            What::Initrd => &self.initrd,
        }
    }
}
