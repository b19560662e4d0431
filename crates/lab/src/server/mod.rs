//! What the provisioning server serves, and how it gets there: image bytes on
//! a content disk, small rendered files over SSH. And when it is up.

mod boot_log;
pub mod cli;
pub mod content;
mod place;
pub mod push;
pub mod ready;
pub mod site;
mod trouble;

#[cfg(test)]
pub(crate) use place::PLACES;
pub(crate) use trouble::{set_up_failed, silent};
