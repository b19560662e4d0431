//! Library of `lab`: everything between `lab.toml` and running machines.
//!
//! One folder a concern; `cli` only says which module answers to which
//! subcommand. Every subcommand is a clap `Args` struct and a function
//! `run(args) -> anyhow::Result<()>` in the module that does the work.

pub mod capture;
pub mod cli;
pub mod config;
pub mod console;
pub mod diagnose;
pub mod down;
pub mod exit;
pub mod fsutil;
pub mod host;
pub mod http;
pub mod keys;
pub mod net;
pub mod probe;
pub mod screen;
pub mod server;
pub mod ssh;
pub mod state;
pub mod status;
pub mod switch;
pub mod target;
pub mod timeline;
pub mod vm;
mod wake;
