//! macOS: a profile for `sandbox-exec`. Its text is tested; it has not been run here.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Cell, Sandbox, Wrapped};
use crate::exec::tools;

/// Calls `sandbox-exec`.
#[derive(Debug)]
pub struct SandboxExec {
    /// `build/.hermake`.
    pub hermake: PathBuf,
}

/// Read-only parts of the system.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/System",
    "/Library/Developer",
    "/private/var/db/dyld",
    "/opt/homebrew",
    "/private/etc",
];

/// A string of the profile's language.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// The profile: all is denied but the system for reading, the tools, and the stage.
pub fn profile(cell: &Cell<'_>, bin: &Path) -> String {
    let mut text =
        String::from("(version 1)\n(deny default)\n(allow process-fork)\n(allow sysctl-read)\n");
    text.push_str("(allow signal (target same-sandbox))\n(allow file-read-metadata)\n");
    text.push_str(
        "(allow file-read* file-write-data (literal \"/dev/null\") (literal \"/dev/zero\"))\n",
    );
    text.push_str(
        "(allow file-read* (literal \"/\") (literal \"/dev/urandom\") (literal \"/dev/random\"))\n",
    );
    for dir in SYSTEM {
        let _ = writeln!(
            text,
            "(allow file-read* process-exec (subpath {}))",
            quoted(Path::new(dir))
        );
    }
    let _ = writeln!(
        text,
        "(allow file-read* process-exec (subpath {}))",
        quoted(bin)
    );
    for (_, path) in cell
        .programs
        .iter()
        .filter(|p| !SYSTEM.iter().any(|s| p.1.starts_with(s)))
    {
        let _ = writeln!(
            text,
            "(allow file-read* process-exec (literal {}))",
            quoted(path)
        );
    }
    for (from, _) in cell.large {
        let _ = writeln!(text, "(allow file-read* (literal {}))", quoted(from));
    }
    let _ = writeln!(
        text,
        "(allow file-read* file-write* process-exec (subpath {}))",
        quoted(cell.stage)
    );
    if cell.network {
        text.push_str("(allow network*)\n(allow system-socket)\n(allow mach-lookup)\n");
    }
    text
}

impl Sandbox for SandboxExec {
    fn wrap(&self, command: &[OsString], cell: &Cell<'_>) -> Result<Wrapped> {
        let bin = tools::folder(&self.hermake, cell.programs)?;
        let mut args: Vec<OsString> = vec![
            "/usr/bin/sandbox-exec".into(),
            "-p".into(),
            profile(cell, &bin).into(),
        ];
        args.extend_from_slice(command);
        Ok(Wrapped {
            argv: args,
            cwd: cell.stage.join("root"),
            env: vec![
                ("PATH".into(), bin.into()),
                ("HOME".into(), cell.stage.join("home").into()),
                ("TMPDIR".into(), cell.stage.join("tmp").into()),
            ],
            cage: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RelPath;

    #[test]
    fn the_profile_denies_all_but_what_is_declared() {
        let cell = Cell {
            stage: Path::new("/p/build/.hermake/stage/1"),
            programs: &[
                ("cc".into(), "/usr/bin/cc".into()),
                ("lab".into(), "/p/build/bin/la\"b".into()),
            ],
            large: &[("/p/big.img".into(), RelPath::new("big.img"))],
            network: false,
        };
        insta::assert_snapshot!(profile(&cell, Path::new("/p/build/.hermake/bin/abc")));
    }
}
