//! Whether a document is signed by the one key that it must be signed by.

use anyhow::{Context as _, bail};
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::KeyDetails as _;

/// A public key whose fingerprint is the expected one.
#[derive(Debug)]
pub struct Signer {
    key: SignedPublicKey,
}

impl Signer {
    /// Reads an armoured public key; `fingerprint` is in hexadecimal and may
    /// have spaces. The key file alone is not trusted.
    pub fn new(armoured: &[u8], fingerprint: &str) -> anyhow::Result<Self> {
        let (key, _) =
            SignedPublicKey::from_armor_single(armoured).context("not an armoured public key")?;
        let wanted: String = fingerprint
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
            .to_ascii_lowercase();
        let got = key.fingerprint().to_string().to_ascii_lowercase();
        if got != wanted {
            bail!("the key's fingerprint is {got}, and it must be {wanted}");
        }
        Ok(Self { key })
    }

    /// Checks that one of the armoured `signatures` is this key's, over
    /// `document`.
    pub fn verify(&self, document: &[u8], signatures: &[u8]) -> anyhow::Result<()> {
        let (all, _) =
            DetachedSignature::from_armor_many(signatures).context("not an armoured signature")?;
        let mut why = "there is no signature in it".to_owned();
        for signature in all {
            let signature = match signature {
                Ok(signature) => signature,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            // Collisions can be made for these.
            if matches!(
                signature.signature.hash_alg(),
                Some(HashAlgorithm::Md5 | HashAlgorithm::Sha1)
            ) {
                "its hash is too weak".clone_into(&mut why);
                continue;
            }
            match signature.verify(&self.key.primary_key, document) {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
        bail!(
            "no signature by {}: {why}",
            self.key.fingerprint().to_string().to_ascii_uppercase()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::ubuntu::Vendor;

    #[test]
    fn the_key_in_vendor_is_the_one_that_is_pinned() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor");
        let vendor = Vendor::load(&folder.join("ubuntu.toml")).unwrap();
        assert_eq!(
            vendor.fingerprint,
            "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"
        );
        let key = fs_err::read(&vendor.key).unwrap();
        Signer::new(&key, &vendor.fingerprint).unwrap();
        let spaced = "d2eb 4462 6fdd c30b 513d 5bb7 1a5d 6c4c 7db8 7c81";
        Signer::new(&key, spaced).unwrap();
        let other = vendor.fingerprint.replace("D2EB", "D2EC");
        let error = Signer::new(&key, &other).unwrap_err().to_string();
        assert!(error.contains("fingerprint is d2eb4462"), "{error}");
        assert!(Signer::new(b"nonsense", spaced).is_err());
    }

    /// `GnuPG` made these, as it does for Ubuntu: RSA with 4096 bits.
    #[test]
    fn signatures_that_gnupg_made_are_verified_unless_their_hash_is_weak() {
        let key = include_bytes!("../tests/gnupg/key.asc");
        let document = include_bytes!("../tests/gnupg/SHA256SUMS");
        let signer = Signer::new(key, "F4576885B26458864E1121F9B47A81A4F8AC4505").unwrap();
        let good = include_bytes!("../tests/gnupg/sha512.asc");
        signer.verify(document, good).unwrap();
        assert!(signer.verify(b"another document", good).is_err());
        let weak = include_bytes!("../tests/gnupg/sha1.asc");
        let error = signer.verify(document, weak).unwrap_err().to_string();
        assert!(error.contains("its hash is too weak"), "{error}");
    }
}
