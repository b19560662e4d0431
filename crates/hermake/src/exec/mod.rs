//! Running commands.

pub mod command;
pub mod prelude;
pub mod sandbox;
pub mod signals;
pub mod stage;
pub mod stray;
pub mod tools;
