//! Linux: namespaces of its own for each task, through bubblewrap. For machines that let it make them and not us.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::layout::{ETC, ETC_NETWORK, HOME, OWN, ROOT, SYSTEM, Tools};
use super::{Cell, Sandbox, Wrapped};
use crate::exec::tools;

/// Calls `bwrap`.
#[derive(Debug)]
pub struct Bwrap {
    /// Where it is.
    pub program: PathBuf,
    /// `build/.hermake`.
    pub hermake: PathBuf,
}

/// Where bubblewrap is.
pub fn find() -> Option<PathBuf> {
    ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]
        .into_iter()
        .map(PathBuf::from)
        .find(|p| p.exists())
}

/// Tries to make a sandbox; says why it can't be.
pub fn probe(program: &Path) -> Result<(), String> {
    let mut args = base(false);
    args.extend(["/usr/bin/true".into()]);
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text
        .lines()
        .next()
        .unwrap_or("it fails without a word")
        .to_owned())
}

fn base(network: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> = [
        "--unshare-all",
        "--die-with-parent",
        "--hostname",
        "hermake",
        // root's too: else it could write to read-only inputs
        "--cap-drop",
        "ALL",
    ]
    .map(OsString::from)
    .to_vec();
    if network {
        args.push("--share-net".into());
    }
    for dir in SYSTEM {
        match fs::read_link(dir) {
            Ok(target) => args.extend(["--symlink".into(), target.into(), (*dir).into()]),
            Err(_) if Path::new(dir).is_dir() => {
                args.extend(["--ro-bind".into(), (*dir).into(), (*dir).into()]);
            }
            Err(_) => {}
        }
    }
    let etc = ETC.iter().chain(if network { ETC_NETWORK } else { &[] });
    for name in etc {
        let path = format!("/etc/{name}");
        if Path::new(&path).exists() {
            args.extend(["--ro-bind".into(), path.clone().into(), path.into()]);
        }
    }
    args.extend(["--proc", "/proc", "--dev", "/dev"].map(OsString::from));
    args
}

impl Sandbox for Bwrap {
    fn wrap(&self, command: &[OsString], cell: &Cell<'_>) -> Result<Wrapped> {
        let mut args: Vec<OsString> = vec![self.program.clone().into()];
        args.extend(base(cell.network));
        let mut bind = |how: &str, from: &Path, to: &Path| {
            args.extend([
                how.into(),
                from.as_os_str().to_owned(),
                to.as_os_str().to_owned(),
            ]);
        };
        bind("--bind", &cell.stage.join("home"), Path::new(HOME));
        bind("--bind", &cell.stage.join("tmp"), Path::new("/tmp"));
        bind("--bind", &cell.stage.join("root"), Path::new(ROOT));
        for (from, to) in cell.large {
            bind("--ro-bind", from, &Path::new(ROOT).join(to.as_path()));
        }
        let Tools { inside, foreign } = Tools::of(cell.programs)?;
        for (_, real, to) in &foreign {
            bind("--ro-bind", real, to);
        }
        let bin = Path::new(OWN).join("bin");
        let init = Path::new(OWN).join("init");
        bind("--ro-bind", &tools::folder(&self.hermake, &inside)?, &bin);
        bind(
            "--ro-bind",
            &std::env::current_exe().context("the path of this program")?,
            &init,
        );
        args.extend(["--chdir", ROOT, "--as-pid-1", "--"].map(OsString::from));
        args.extend([init.into(), super::init::WORD.into()]);
        args.extend_from_slice(command);
        Ok(Wrapped {
            argv: args,
            cwd: cell.stage.to_path_buf(),
            env: vec![
                ("PATH".into(), bin.into()),
                ("HOME".into(), HOME.into()),
                ("TMPDIR".into(), "/tmp".into()),
            ],
            cage: None,
        })
    }
}
