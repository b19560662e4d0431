//! Ubuntu's newest cloud images, their signed digests verified, pinned in
//! `vendor/ubuntu.lock.toml`.
//!
//! A crate and a program (`lab-pin`) of its own: checking an `OpenPGP` signature
//! takes more code than all the rest, and only who moves to newer images needs
//! it. Downloads are checked against the pins.

mod listing;
mod newest;
mod signature;
mod source;

pub use newest::{Args, newest, run};
pub use signature::Signer;
