//! What a lab keeps on disk, below `build/labs/NAME/`.

mod lock;
mod paths;

pub use lock::VmLock;
pub use paths::{LabArgs, LabPaths, VmPaths};
