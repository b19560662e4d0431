//! What the user decided for the probe, in `lab.toml` or the environment.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;

use super::model::{AccelKind, Backend, Distribution};

/// Decisions that are not the probe's to make; `None` means `auto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `network.backend` or `LAB_BACKEND`, and which of them.
    pub(crate) backend: Option<(Backend, &'static str)>,
    /// `distribution.name` or `LAB_DISTRIBUTION`, and which of them.
    pub(crate) distribution: Option<(Distribution, &'static str)>,
    /// `LAB_ACCEL`.
    pub(crate) accel: Option<AccelKind>,
    /// Code name of Ubuntu's release.
    pub(crate) ubuntu_release: String,
    /// Ubuntu's image server, if not the usual one.
    pub(crate) ubuntu_mirror: Option<String>,
    /// Debian's mirror, if not the host's own.
    pub(crate) debian_mirror: Option<String>,
}

/// The few keys of `lab.toml` that matter here. The rest, and whether there
/// is one too many, is for the module that reads all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    network: NetworkKeys,
    distribution: DistributionKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkKeys {
    backend: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DistributionKeys {
    name: Option<String>,
    ubuntu: SourceKeys,
    debian: SourceKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SourceKeys {
    release: Option<String>,
    mirror: Option<String>,
}

impl Wishes {
    /// Reads `lab.toml` at `path`, where a missing file has no wishes, and
    /// the variables that `env` knows.
    pub(crate) fn read(path: &Path, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let file: File = toml::from_str(&text)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        let File {
            network,
            distribution,
        } = file;
        Ok(Self {
            backend: either(
                env("LAB_BACKEND"),
                "LAB_BACKEND",
                network.backend,
                "network.backend",
            )?,
            distribution: either(
                env("LAB_DISTRIBUTION"),
                "LAB_DISTRIBUTION",
                distribution.name,
                "distribution.name",
            )?,
            accel: either(env("LAB_ACCEL"), "LAB_ACCEL", None, "")?.map(|(kind, _)| kind),
            ubuntu_release: distribution
                .ubuntu
                .release
                .unwrap_or_else(|| "noble".to_owned()),
            ubuntu_mirror: distribution.ubuntu.mirror,
            debian_mirror: distribution.debian.mirror,
        })
    }
}

/// The variable's value if it is set, else the file's; `auto` is none.
fn either<T: for<'de> Deserialize<'de>>(
    variable: Option<String>,
    name: &'static str,
    key: Option<String>,
    key_name: &'static str,
) -> anyhow::Result<Option<(T, &'static str)>> {
    let variable = variable.filter(|value| !value.is_empty());
    let Some((value, from)) = variable
        .map(|value| (value, name))
        .or_else(|| key.map(|value| (value, key_name)))
    else {
        return Ok(None);
    };
    if value == "auto" {
        return Ok(None);
    }
    match T::deserialize(IntoDeserializer::<ValueError>::into_deserializer(
        value.as_str(),
    )) {
        Ok(wish) => Ok(Some((wish, from))),
        Err(error) => bail!("{from}: {error} (or auto)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, env: &[(&str, &str)]) -> anyhow::Result<Wishes> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.toml");
        fs_err::write(&path, text).unwrap();
        Wishes::read(&path, |name| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn nothing_said_and_auto_are_the_same() {
        let auto = read(
            "[network]\nbackend = \"auto\"\n[distribution]\nname = \"auto\"\n[[target]]\nname = \"t\"\n",
            &[("LAB_ACCEL", "")],
        )
        .unwrap();
        assert_eq!(auto, read("", &[]).unwrap());
        assert_eq!(auto.backend, None);
        assert_eq!(auto.ubuntu_release, "noble");
        let dir = tempfile::tempdir().unwrap();
        let missing = Wishes::read(&dir.path().join("lab.toml"), |_| None).unwrap();
        assert_eq!(missing, auto);
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let text = "[network]\nbackend = \"socket-vmnet\"\n[distribution]\nname = \"ubuntu\"\n";
        let wishes = read(
            text,
            &[("LAB_DISTRIBUTION", "debian"), ("LAB_ACCEL", "tcg")],
        )
        .unwrap();
        assert_eq!(
            wishes.backend,
            Some((Backend::SocketVmnet, "network.backend"))
        );
        assert_eq!(
            wishes.distribution,
            Some((Distribution::Debian, "LAB_DISTRIBUTION"))
        );
        assert_eq!(wishes.accel, Some(AccelKind::Tcg));
    }

    #[test]
    fn an_unknown_value_is_refused_with_its_place_and_the_choices() {
        let error = read("[network]\nbackend = \"hubb\"\n", &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "network.backend: unknown variant `hubb`, expected one of `hub`, `switch`, `vmnet`, \
             `socket-vmnet`, `bridge` (or auto)"
        );
        let error = read("", &[("LAB_ACCEL", "xen")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "LAB_ACCEL: unknown variant `xen`, expected one of `kvm`, `hvf`, `tcg` (or auto)"
        );
    }
}
