//! `bootd` tells every machine of the lab what to boot, what to install and how
//! to configure itself, and keeps how far each one is.
//!
//! - [`site`] reads what the host pushed, and notices when that changes.
//! - [`render`] turns templates and a machine into scripts and cloud-init's files.
//! - [`check`] does that for everything at once, before a site is used.
//! - [`machine`] is the state machine of one machine, [`events`] what happened;
//!   both are on disk and survive a restart.
//! - [`app`] answers requests; [`http`] speaks HTTP around it.

pub mod app;
pub mod atomic;
pub mod check;
pub mod events;
mod filters;
pub mod http;
pub mod machine;
pub mod render;
mod secret;
pub mod site;
