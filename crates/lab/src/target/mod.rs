//! Targets: brought up, followed stage by stage, installed anew.

mod bootd;
mod cli;
mod point;
mod provision;
mod say;
mod serial;
mod up;
mod watch;

pub use bootd::{Bootd, BootdError};
pub use cli::{Args, ReprovisionArgs, reprovision, run};
pub use provision::Provision;
pub use up::start;
pub use watch::{WatchError, WatchKind};
