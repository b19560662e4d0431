//! Runs the real binary, and the real GNU Make, in projects of their own.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    reason = "tests may be slow and short"
)]

mod answers;
mod broken;
mod concurrent;
mod content;
mod examples;
mod failures;
mod fetch;
mod kill;
mod logs;
mod make;
mod messages;
mod outputs;
mod power;
mod sandbox;
mod schema;
mod secrets;
mod service;
mod space;
mod store;
mod terminal;
mod why;
