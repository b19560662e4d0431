//! Ubuntu's cloud images: downloaded as they are pinned, and converted. The
//! crate `pin` finds them and verifies their signatures.

pub mod build;
pub mod get;
mod lock;
pub mod target;
mod vendor;

pub use lock::{Lock, Pin, What};
pub use vendor::Vendor;
