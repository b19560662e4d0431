//! A signing key made for the test.

use pgp::composed::{
    ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{KeyDetails as _, Password};

/// A key that signs.
pub(crate) struct TestKey(SignedSecretKey);

impl TestKey {
    /// Makes one.
    pub(crate) fn new() -> Self {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Test <test@images.test>".into())
            .build()
            .unwrap();
        Self(params.generate(rand::thread_rng()).unwrap())
    }

    /// In hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        self.0.fingerprint().to_string()
    }

    /// The public half, armoured.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.0
            .to_public_key()
            .to_armored_bytes(ArmorOptions::default())
            .unwrap()
    }

    /// A detached signature, armoured.
    pub(crate) fn sign(&self, document: &[u8]) -> Vec<u8> {
        DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &self.0.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha512,
            document,
        )
        .unwrap()
        .to_armored_bytes(ArmorOptions::default())
        .unwrap()
    }
}
