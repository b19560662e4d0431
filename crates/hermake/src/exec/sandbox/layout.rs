//! What a task sees on Linux, whichever way its sandbox is made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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

/// A task's tools, by where they are for it.
#[derive(Debug, Default)]
pub struct Tools {
    /// Each tool's name, and its path inside: what the links on PATH say.
    pub inside: Vec<(String, PathBuf)>,
    /// Those from elsewhere than the system: name, real path, and the path inside that it is to be mounted at.
    pub foreign: Vec<(String, PathBuf, PathBuf)>,
}

impl Tools {
    /// Where `programs`, by name and path on the machine, are to be.
    pub fn of(programs: &[(String, PathBuf)]) -> Result<Self> {
        let mut tools = Self::default();
        for (name, path) in programs {
            if in_system(path) {
                tools.inside.push((name.clone(), path.clone()));
                continue;
            }
            let real =
                fs::canonicalize(path).with_context(|| format!("reading {}", path.display()))?;
            let to = Path::new(OWN).join("tools").join(name);
            tools.inside.push((name.clone(), to.clone()));
            tools.foreign.push((name.clone(), real, to));
        }
        Ok(tools)
    }
}
