//! What needs the machine itself: its NIC, its disks, its kernel.

mod disks;
mod net;
mod partition;
mod run;
mod sys;

pub use run::{power_off, run};
