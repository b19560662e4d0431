//! What a task sees on Linux, whichever way its sandbox is made.

use std::path::Path;

/// The project's root: the same everywhere, so that paths don't leak into results.
pub const ROOT: &str = "/build";
/// The task's HOME.
pub const HOME: &str = "/home/task";
/// What is hermake's: the task's PATH, and programs from elsewhere than the system.
pub const OWN: &str = "/.hermake";

/// Read-only parts of the system; links are kept as links.
pub const SYSTEM: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];
/// Files of /etc that programs can't do without.
pub const ETC: &[&str] = &[
    "alternatives",
    "ld.so.cache",
    "passwd",
    "group",
    "nsswitch.conf",
];
/// And those that the network needs.
pub const ETC_NETWORK: &[&str] = &["resolv.conf", "hosts", "ssl", "ca-certificates", "pki"];

/// True if `path` lies in what every task sees.
pub fn in_system(path: &Path) -> bool {
    SYSTEM.iter().any(|dir| path.starts_with(dir))
}
