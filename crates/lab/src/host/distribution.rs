//! Which distribution the images are made from, and where Debian's packages
//! come from.

use super::model::{Debian, Distribution};
use super::platform::{Need, Platform};
use super::wishes::Wishes;

/// What was decided, why, and Debian's archive if one is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The distribution.
    pub(crate) distribution: Distribution,
    /// Why this one.
    pub(crate) how: String,
    /// Debian's archive and its keys.
    pub(crate) debian: Option<Debian>,
    /// Who told the archive's address.
    pub(crate) debian_how: &'static str,
}

/// Decides. `ubuntu` is the address that must answer for Ubuntu to be used,
/// and `reach` asks it.
pub(crate) fn decide(
    platform: &dyn Platform,
    wishes: &Wishes,
    ubuntu: &str,
    reach: impl Fn(&str) -> Result<(), String>,
) -> Result<Decision, String> {
    let (mirror, debian_how) = match &wishes.debian_mirror {
        Some(mirror) => (Some(mirror.clone()), "distribution.debian.mirror"),
        None => (platform.debian_mirror(), "the host's apt sources"),
    };
    let keyring = platform
        .debian_keyrings()
        .into_iter()
        .find(|path| path.is_file());
    let without = match (&mirror, &keyring, platform.program("mmdebstrap")) {
        (None, ..) => Some(
            "no mirror is known: the host's apt has no Debian archive; set \
             distribution.debian.mirror in lab.toml"
                .to_owned(),
        ),
        (_, None, _) => Some(format!(
            "the archive's keys are missing; {}",
            platform.remedy(Need::DebianKeyring)
        )),
        (.., None) => Some(format!(
            "mmdebstrap is missing; {}",
            platform.remedy(Need::Mmdebstrap)
        )),
        _ => None,
    };
    let debian = mirror
        .zip(keyring)
        .map(|(mirror, keyring)| Debian { mirror, keyring });
    let decision = |distribution, how| Decision {
        distribution,
        how,
        debian,
        debian_how,
    };
    match (wishes.distribution, without) {
        (Some((Distribution::Ubuntu, from)), _) => {
            Ok(decision(Distribution::Ubuntu, from.to_owned()))
        }
        (Some((Distribution::Debian, from)), None) => {
            Ok(decision(Distribution::Debian, from.to_owned()))
        }
        (Some((Distribution::Debian, from)), Some(without)) => {
            Err(format!("{from} asks for Debian, but {without}"))
        }
        (None, without) => match (reach(ubuntu), without) {
            (Ok(()), _) => Ok(decision(
                Distribution::Ubuntu,
                format!("auto: {ubuntu} answers"),
            )),
            (Err(why), None) => Ok(decision(
                Distribution::Debian,
                format!("auto: {ubuntu} does not answer ({why})"),
            )),
            (Err(why), Some(without)) => Err(format!(
                "Ubuntu's image server {ubuntu} does not answer ({why}), and for Debian {without}"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::platform::tests::plant_program;
    use crate::host::platform::{Linux, Macos};

    const SERVER: &str = "http://images.test/releases/noble/";

    fn wishes(text: &str) -> Wishes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.toml");
        fs_err::write(&path, text).unwrap();
        Wishes::read(&path, |_| None).unwrap()
    }

    /// A Debian host with all that Debian images need.
    fn debian_host(root: &Path) -> Linux {
        let keyring = root.join("usr/share/keyrings/debian-archive-keyring.gpg");
        fs_err::create_dir_all(keyring.parent().unwrap()).unwrap();
        fs_err::write(keyring, "").unwrap();
        plant_program(&root.join("usr/bin/mmdebstrap"));
        Linux::new(root, vec![])
    }

    const MIRROR: &str = "[distribution.debian]\nmirror = \"http://mirror.test/debian\"\n";

    #[test]
    fn auto_is_ubuntu_if_its_server_answers_else_debian() {
        let dir = tempfile::tempdir().unwrap();
        let host = debian_host(dir.path());
        let wishes = wishes(MIRROR);
        let answers = decide(&host, &wishes, SERVER, |url| {
            assert_eq!(url, SERVER);
            Ok(())
        });
        assert_eq!(answers.unwrap().distribution, Distribution::Ubuntu);
        let silent = decide(&host, &wishes, SERVER, |_| Err("timeout".to_owned())).unwrap();
        assert_eq!(silent.distribution, Distribution::Debian);
        assert_eq!(
            silent.how,
            format!("auto: {SERVER} does not answer (timeout)")
        );
        assert_eq!(silent.debian.unwrap().mirror, "http://mirror.test/debian");
    }

    #[test]
    fn a_wish_asks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let host = debian_host(dir.path());
        for (name, expected) in [
            ("ubuntu", Distribution::Ubuntu),
            ("debian", Distribution::Debian),
        ] {
            let wishes = wishes(&format!("[distribution]\nname = \"{name}\"\n{MIRROR}"));
            let decision = decide(&host, &wishes, SERVER, |_| panic!("asked")).unwrap();
            assert_eq!(decision.distribution, expected);
            assert_eq!(decision.how, "distribution.name");
        }
    }

    #[test]
    fn when_neither_can_be_had_both_reasons_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let silent = |_: &str| Err("no route".to_owned());
        let host = Linux::new(dir.path(), vec![]);
        let error = decide(&host, &wishes(""), SERVER, silent).unwrap_err();
        assert!(
            error.contains("no route") && error.contains("no mirror is known"),
            "{error}"
        );
        let keyless = decide(&host, &wishes(MIRROR), SERVER, silent).unwrap_err();
        assert!(keyless.contains("debian-archive-keyring"), "{keyless}");
        let mac = Macos::new(dir.path(), vec![]);
        let error = decide(&mac, &wishes(MIRROR), SERVER, silent).unwrap_err();
        assert!(error.contains("can't be built on macOS"), "{error}");
    }
}
