//! Virtual machines: what is run, how it is started, watched and stopped.

mod alive;
pub mod args;
mod cli;
mod content;
mod detach;
mod disk;
mod launch;
mod plug;
pub mod process;
pub mod qmp;
mod ready;
mod record;
mod resume;
mod snapshot;
mod socket;
mod sparse;
mod start;
mod stop;
mod torn;

pub use cli::{Args, HostArgs, run};
pub use content::refresh as refresh_content;
pub(crate) use detach::spawn as spawn_detached;
pub use disk::{DiskRecord, Fingerprint, discard, is_set_up};
pub use launch::{LaunchError, last_lines};
pub use plug::ensure_port;
pub(crate) use plug::hub_port;
pub use ready::ready;
pub use record::{Forwards, Record, State};
pub use snapshot::Saved;
pub use socket::connect;
pub use start::{Options, Started, start_server, start_target};
pub use stop::{Stopped, stop, suspend};
pub use torn::discard_torn;
