//! What `lab.toml` says of Ubuntu. The rest of it is checked by `lab config`.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// `[distribution.ubuntu]`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Source {
    /// Code name of the release.
    #[serde(default = "noble")]
    pub(crate) release: String,
    /// Another server with the same layout.
    pub(crate) mirror: Option<String>,
}

fn noble() -> String {
    "noble".to_owned()
}

impl Default for Source {
    fn default() -> Self {
        Self {
            release: noble(),
            mirror: None,
        }
    }
}

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    distribution: Distribution,
}

#[derive(Default, Deserialize)]
struct Distribution {
    #[serde(default)]
    ubuntu: Source,
}

impl Source {
    /// Reads `lab.toml`; a file that is not there says nothing.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs_err::read_to_string(path)?;
        let file: File = toml::from_str(&text)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        Ok(file.distribution.ubuntu)
    }
}
