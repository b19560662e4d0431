//! VMs with a real QEMU: started, found, killed, stopped.
//!
//! Their firmware is zeros, so nothing boots; what is tested is all around it.

#![cfg(target_os = "linux")]

mod bench;
mod breaks;
mod bridge;
mod bringup;
mod ends;
mod files;
mod interrupted;
mod looks;
mod play;
mod probes;
mod starts;
mod suspends;
mod switches;
