//! Images of both distributions, in the same shapes: a server disk (aarch64,
//! UEFI-bootable, cloud-init inside), a target disk (x86_64, raw, zstd) and
//! the target's kernel and initrd; and the volumes that carry seeds and content.
//!
//! A crate and a program (`lab-image`) of its own: the program's bytes are in
//! the keys of tasks that take minutes, so it changes only when images do.

pub mod compress;
pub mod debian;
mod disk;
pub mod fetch;
pub mod initrd;
pub mod ubuntu;
pub mod volume;
