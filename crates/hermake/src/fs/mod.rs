//! Files: digests, fingerprints, trees, globs, atomic writes, locks.

pub mod atomic;
mod bytes;
pub mod digest;
pub mod fingerprint;
pub mod glob;
pub mod lock;
pub mod relpath;
pub mod tree;

pub use digest::Digest;
pub use fingerprint::{Fingerprint, now_ns};
pub use relpath::RelPath;
