//! Installs a machine from its initramfs: streams a disk image to the disk,
//! verifies it, plants the seed for cloud-init, and restarts.
//!
//! At no moment is a half-installed disk bootable: the image's first and last
//! MiB, which hold the partition table and its copy, are held back in memory
//! until everything else is on the disk and is known to be right ([`image`]).
//!
//! What needs a machine to run on ([`linux`]) is apart from what is tested on
//! files and a loopback server.

pub mod cmdline;
pub mod decode;
pub mod disk;
pub mod fetch;
pub mod gpt;
pub mod image;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod report;
pub mod seed;
