//! Targets: brought up, followed stage by stage, installed anew.

mod bootd;
mod cli;
mod doubt;
mod follower;
mod kind;
mod point;
mod provision;
mod say;
mod serial;
mod stand;
mod times;
mod track;
mod up;
mod watch;

pub use bootd::{Bootd, BootdError};
pub use cli::{Args, ReprovisionArgs, reprovision, run};
pub use kind::{WatchError, WatchKind};
#[cfg(test)]
pub(crate) use point::Point;
pub use provision::Provision;
#[cfg(test)]
pub(crate) use serial::{Console, Meaning};
pub(crate) use stand::{Stand, stand};
pub(crate) use times::{Times, marks, milliseconds, time_of};
#[cfg(test)]
pub(crate) use track::Track;
pub use up::start;
