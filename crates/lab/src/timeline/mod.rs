//! What happened to a machine, in one file on the host:
//! `vm/<name>/timeline.jsonl`. Who follows the machine writes it; bootd's
//! events and the server's logs complete it.

mod cli;
mod complete;
mod entry;
mod file;
mod logs;
mod services;
mod show;
pub mod trace;

pub use cli::{Args, run};
pub(crate) use complete::{from_bootd, from_server};
pub use entry::Entry;
pub(crate) use file::begin_anew;
pub use file::{Timeline, read};
pub(crate) use services::down;
pub(crate) use show::clock;
