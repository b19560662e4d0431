//! Library of `hermake`, a hermetic, content-hashed task executor that Make calls once per target.
//!
//! `config` reads task files into a graph, `engine` decides what is out of date and brings it up to date,
//! `state` is what this checkout knows, `store` what all checkouts share.

pub mod cli;
pub mod config;
pub mod engine;
pub mod exec;
pub mod fs;
pub mod makeflags;
pub mod manifest;
pub mod report;
pub mod runlog;
pub mod state;
pub mod store;
pub mod texts;
