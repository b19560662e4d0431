//! What the host, the server and the targets say to each other.
//!
//! - [`Site`] is written by the host and pushed to the server: all that `bootd` knows of the lab.
//! - [`Plan`] is what `bootd` tells the installer to do.
//! - [`EventReport`] is what a target reports, [`Event`] what `bootd` keeps of it.
//! - [`MachineStatus`] and [`EventPage`] are what the host reads.

mod digest;
mod event;
mod mac;
mod machine;
mod plan;
mod site;
mod text;

pub use digest::{Digest, InvalidDigest};
pub use event::{Event, EventPage, EventReport, Progress};
pub use mac::{InvalidMac, Mac};
pub use machine::{MachineState, MachineStatus, Stage};
pub use plan::{Plan, SeedUrls};
pub use site::{
    Image, Install, InstallMode, Machine, Network, Site, SiteError, UnknownMachines, kernel_arg,
};
pub use text::one_line;
