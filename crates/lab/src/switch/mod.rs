//! A learning switch for the lab segment: `backend = "switch"`.
//!
//! The hub in the server's QEMU repeats every frame to every target, and waits
//! for each of them to take it (docs/decisions/042). This passes a frame only
//! to whom it is for, once it knows where that is, and waits for nobody: what a
//! client doesn't take in time is lost, as on any Ethernet.
//!
//! Its clients are QEMU's `-netdev stream,server=off`, which connect again by
//! themselves, and the host's own (`lab probe`).

mod forward;
mod port;
mod process;
mod table;
#[cfg(test)]
mod tests;

pub use forward::Switch;
pub use process::{Args, SOCKET, end, ensure, process, run};
