//! Which QEMU is here, and what it can do.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::model::{Features, Reconnect};

/// The oldest version that the lab works with: `-netdev stream` came in 7.2.
pub(crate) const OLDEST: (u32, u32) = (7, 2);

/// The version that `program` prints, as text and as major and minor number.
pub(crate) fn version(program: &Path) -> anyhow::Result<(String, (u32, u32))> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).with_context(|| {
        format!(
            "{} --version gave no version: {:?}",
            program.display(),
            text.lines().next().unwrap_or_default()
        )
    })
}

/// `QEMU emulator version 10.0.2 (Debian …)`
fn parse_version(text: &str) -> Option<(String, (u32, u32))> {
    let word = text
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)?;
    let mut numbers = word.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((word.to_owned(), (major, minor)))
}

/// What a QEMU of `version` can do.
pub(crate) fn features(version: (u32, u32)) -> Features {
    Features {
        netdev_stream: version >= (7, 2),
        reconnect: if version >= (9, 2) {
            Reconnect::ReconnectMs
        } else if version >= (8, 0) {
            Reconnect::Reconnect
        } else {
            Reconnect::None
        },
        migrate_file: version >= (8, 2),
        mapped_ram: version >= (9, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_printed() {
        for (text, expected) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright",
                Some(("10.0.2", (10, 0))),
            ),
            ("QEMU emulator version 7.2.13", Some(("7.2.13", (7, 2)))),
            (
                "QEMU emulator version 9.1.50 (v9.1.0-1)",
                Some(("9.1.50", (9, 1))),
            ),
            ("something else", None),
            ("version x.y", None),
        ] {
            let expected = expected.map(|(t, v)| (t.to_owned(), v));
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn features_follow_the_version() {
        assert_eq!(features((7, 2)).reconnect, Reconnect::None);
        assert!(features((7, 2)).netdev_stream && !features((7, 1)).netdev_stream);
        assert_eq!(features((9, 1)).reconnect, Reconnect::Reconnect);
        assert_eq!(features((10, 0)).reconnect, Reconnect::ReconnectMs);
        assert!(features((9, 0)).mapped_ram && !features((8, 2)).mapped_ram);
        assert!(features((8, 2)).migrate_file && !features((8, 1)).migrate_file);
    }
}
