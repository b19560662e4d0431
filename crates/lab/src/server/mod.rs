//! What the provisioning server serves, and how it gets there: image bytes on
//! a content disk, small rendered files over SSH. And when it is up.

mod boot_log;
pub mod cli;
pub mod content;
pub mod push;
pub mod ready;
pub mod site;
