//! Programs by name: found once, hashed, put on a PATH of their own.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::fs::{Digest, atomic};

/// Names that stand for several programs.
const GROUPS: &[(&str, &[&str])] = &[(
    "coreutils",
    &[
        "[",
        "b2sum",
        "base32",
        "base64",
        "basename",
        "basenc",
        "cat",
        "chmod",
        "cksum",
        "comm",
        "cp",
        "csplit",
        "cut",
        "date",
        "dd",
        "df",
        "dirname",
        "du",
        "echo",
        "env",
        "expand",
        "expr",
        "factor",
        "false",
        "fmt",
        "fold",
        "head",
        "id",
        "install",
        "join",
        "ln",
        "ls",
        "md5sum",
        "mkdir",
        "mkfifo",
        "mktemp",
        "mv",
        "nl",
        "nproc",
        "numfmt",
        "od",
        "paste",
        "pr",
        "printenv",
        "printf",
        "pwd",
        "readlink",
        "realpath",
        "rm",
        "rmdir",
        "seq",
        "sha1sum",
        "sha256sum",
        "sha512sum",
        "shuf",
        "sleep",
        "sort",
        "split",
        "stat",
        "sum",
        "sync",
        "tac",
        "tail",
        "tee",
        "test",
        "timeout",
        "touch",
        "tr",
        "true",
        "truncate",
        "tsort",
        "uname",
        "unexpand",
        "uniq",
        "wc",
        "yes",
    ],
)];

/// The programs that `tool` stands for; a group's members need not all be there.
pub fn members(tool: &str) -> (&[&str], bool) {
    GROUPS
        .iter()
        .find(|g| g.0 == tool)
        .map_or((&[], false), |g| (g.1, true))
}

/// Finds programs.
#[derive(Debug)]
pub struct Finder {
    dirs: Vec<PathBuf>,
    found: Mutex<HashMap<String, Option<PathBuf>>>,
}

impl Finder {
    /// Looks in the project's `build/bin`, then along `path`.
    pub fn new(root: &Path, path: Option<&std::ffi::OsStr>) -> Self {
        let mut dirs = vec![root.join("build/bin")];
        for dir in path.map(std::env::split_paths).into_iter().flatten() {
            // many a PATH has a folder twice
            if dir.is_absolute() && !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        Self {
            dirs,
            found: Mutex::default(),
        }
    }

    /// Where the program `name` is; an absolute path is itself.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let mut found = self
            .found
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = found.get(name) {
            return known.clone();
        }
        let runs = |path: &Path| {
            fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        let path = if name.starts_with('/') {
            Some(PathBuf::from(name)).filter(|p| runs(p))
        } else {
            self.dirs.iter().map(|d| d.join(name)).find(|p| runs(p))
        };
        found.insert(name.to_owned(), path.clone());
        path
    }

    /// The programs of a task's `tools`: name on PATH, and where it is.
    pub fn all(&self, tools: &[String]) -> Result<Vec<(String, PathBuf)>> {
        let mut out = Vec::new();
        for tool in tools {
            let (group, optional) = members(tool);
            if optional {
                out.extend(
                    group
                        .iter()
                        .filter_map(|n| Some(((*n).to_owned(), self.find(n)?))),
                );
                continue;
            }
            let path = self.find(tool).with_context(|| {
                format!("the tool `{tool}` is neither in build/bin nor on PATH: install it, or correct `tools`")
            })?;
            let name = tool.rsplit('/').next().unwrap_or(tool).to_owned();
            out.push((name, path));
        }
        Ok(out)
    }
}

/// A folder with one link per program, made once per set of programs.
pub fn folder(hermake: &Path, programs: &[(String, PathBuf)]) -> Result<PathBuf> {
    let list: Vec<_> = programs
        .iter()
        .map(|(n, p)| format!("{n}\0{}", p.display()))
        .collect();
    let dir = hermake
        .join("bin")
        .join(Digest::of(list.join("\0").as_bytes()).short());
    if dir.is_dir() {
        return Ok(dir);
    }
    let what = || format!("making {}", dir.display());
    let tmp = hermake.join("tmp").join(atomic::unique());
    fs::create_dir_all(&tmp).with_context(what)?;
    for (name, path) in programs {
        let link = tmp.join(name);
        if !link.is_symlink() {
            symlink(path, link).with_context(what)?;
        }
    }
    atomic::create_parent(&dir)?;
    if fs::rename(&tmp, &dir).is_err() {
        // another process made the same one first
        atomic::remove(&tmp)?;
    }
    Ok(dir)
}
