//! Task files: reading, checking, filling in.

pub mod check;
pub mod graph;
mod kind;
pub mod load;
pub mod params;
pub mod raw;
pub mod resolve;
pub mod scope;
pub mod secret;
pub mod source;
pub mod task;
pub mod template;
pub mod units;
pub mod written;

pub use graph::Graph;
pub use task::{Kind, Output, Task};
