//! Keys made for one lab: the key that people and programs log in with, and
//! the server's host key, so that its identity is known before it boots.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::fsutil;

/// The name under which the server's host key stands in `known_hosts`; its
/// port differs from start to start, so the address can't be the name.
pub const SERVER_ALIAS: &str = "lab-server";

/// Options of `lab keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the keys, made if need be.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Makes the keys that are not there yet. Existing keys are kept: machines
/// that were provisioned with them still trust them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    fs_err::create_dir_all(&args.out)?;
    // the lab's folder too: seed and disks hold the host key as well
    let lab = args.out.parent().filter(|lab| !lab.as_os_str().is_empty());
    for folder in lab.into_iter().chain([args.out.as_path()]) {
        fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    make_pair(&args.out.join("id_ed25519"), "lab")?;
    let host = make_pair(&args.out.join("host_ed25519"), SERVER_ALIAS)?;
    let public = host
        .public_key()
        .to_openssh()
        .context("cannot write the host key's public half")?;
    let line: Vec<&str> = public.split_whitespace().take(2).collect();
    let known = format!("{SERVER_ALIAS} {}\n", line.join(" "));
    fsutil::write_if_changed(&args.out.join("known_hosts"), known.as_bytes(), 0o600)?;
    Ok(())
}

/// Reads the private key at `path`, or makes one; writes its public half.
fn make_pair(path: &Path, comment: &str) -> anyhow::Result<PrivateKey> {
    let key = match fs_err::read_to_string(path) {
        Ok(text) => PrivateKey::from_openssh(text).with_context(|| {
            format!(
                "{} is not an OpenSSH private key; delete it to have a new one made",
                path.display()
            )
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)
                .context("cannot make an ed25519 key")?;
            key.set_comment(comment);
            let text = key
                .to_openssh(LineEnding::LF)
                .context("cannot encode the key")?;
            fsutil::write_atomically(path, text.as_bytes(), 0o600)?;
            key
        }
        Err(error) => return Err(error.into()),
    };
    if key.is_encrypted() {
        bail!(
            "{} has a passphrase, which the lab can't ask for; delete it",
            path.display()
        );
    }
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let public = key
        .public_key()
        .to_openssh()
        .context("cannot encode the public key")?;
    fsutil::write_if_changed(
        &path.with_extension("pub"),
        format!("{public}\n").as_bytes(),
        0o644,
    )?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path) -> anyhow::Result<()> {
        run(&Args {
            out: dir.to_owned(),
        })
    }

    #[test]
    fn makes_keys_once_and_keeps_them_private() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keys");
        make(&out).unwrap();
        let first = fs_err::read(out.join("id_ed25519")).unwrap();
        for name in ["id_ed25519", "host_ed25519", "known_hosts"] {
            let mode = fs_err::metadata(out.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let known = fs_err::read_to_string(out.join("known_hosts")).unwrap();
        let public = fs_err::read_to_string(out.join("host_ed25519.pub")).unwrap();
        assert!(known.starts_with("lab-server ssh-ed25519 AAAA"), "{known}");
        assert_eq!(
            known.split_whitespace().nth(2),
            public.split_whitespace().nth(1)
        );
        make(&out).unwrap();
        assert_eq!(fs_err::read(out.join("id_ed25519")).unwrap(), first);
    }

    #[test]
    fn a_missing_public_half_comes_back_and_a_broken_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path()).unwrap();
        let public = fs_err::read(dir.path().join("id_ed25519.pub")).unwrap();
        fs_err::remove_file(dir.path().join("id_ed25519.pub")).unwrap();
        make(dir.path()).unwrap();
        assert_eq!(
            fs_err::read(dir.path().join("id_ed25519.pub")).unwrap(),
            public
        );
        fs_err::write(dir.path().join("id_ed25519"), "nonsense").unwrap();
        let error = make(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("id_ed25519 is not an OpenSSH private key"),
            "{error}"
        );
    }
}
