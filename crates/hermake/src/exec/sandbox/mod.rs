//! Keeping a task from what it didn't declare, by what the machine offers.

pub mod bwrap;
pub mod init;
pub mod layout;
pub mod macos;
#[cfg(target_os = "linux")]
pub mod own;
#[cfg(not(target_os = "linux"))]
pub mod own {
    //! Only Linux has namespaces.

    /// There is none.
    #[derive(Debug)]
    pub enum Cage {}
}

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::stage::COPIED;
use crate::fs::{RelPath, atomic};

/// How it is noted that our own sandbox works here, or bubblewrap's.
const OWN: &str = "own";
const BUBBLEWRAP: &str = "bubblewrap";

/// What a task may see.
#[derive(Debug)]
pub struct Cell<'a> {
    /// Its stage: `root`, `home`, `tmp`.
    pub stage: &'a Path,
    /// Its tools.
    pub programs: &'a [(String, PathBuf)],
    /// Inputs too large to copy: where they are, and where the task sees them.
    pub large: &'a [(PathBuf, RelPath)],
    /// Whether it may use the network.
    pub network: bool,
}

/// A command made ready.
#[derive(Debug)]
pub struct Wrapped {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Working directory of the outermost program.
    pub cwd: PathBuf,
    /// PATH, HOME and TMPDIR as the task sees them.
    pub env: Vec<(OsString, OsString)>,
    /// What the command is to be started in, if that isn't a program's work.
    pub cage: Option<own::Cage>,
}

/// A way to confine a command.
pub trait Sandbox: std::fmt::Debug + Send + Sync {
    /// `command` confined to `cell`.
    fn wrap(&self, command: &[OsString], cell: &Cell<'_>) -> anyhow::Result<Wrapped>;

    /// Up to this size copying an input costs less than mounting it.
    fn copied(&self) -> u64 {
        COPIED
    }
}

/// The best sandbox of this machine, or why there is none. Tried once per boot, remembered in `hermake`.
/// `bubblewrap` says whether it has to be that.
pub fn find(hermake: &Path, boot: u64, bubblewrap: bool) -> Result<Box<dyn Sandbox>, String> {
    if cfg!(target_os = "macos") {
        return Ok(Box::new(macos::SandboxExec {
            hermake: hermake.to_path_buf(),
        }));
    }
    let note = hermake.join("sandbox");
    let program = bwrap::find();
    let tried = fs::read_to_string(&note).unwrap_or_default();
    // a container may share the checkout and the boot, and offer less
    let whose = fs::read_link("/proc/self/ns/user").unwrap_or_default();
    let shown = program.as_deref().unwrap_or(Path::new("-")).display();
    let key = format!("{boot} {} {shown} {bubblewrap} ", whose.display());
    #[cfg(target_os = "linux")]
    let own = || own::Own::new(hermake, &note);
    let result = tried.strip_prefix(&key).map(str::to_owned);
    let result = result.unwrap_or_else(|| {
        #[cfg(target_os = "linux")]
        let ours = if bubblewrap {
            Err("not asked for".to_owned())
        } else {
            own().probe().map_err(|e| format!("{e:#}"))
        };
        #[cfg(not(target_os = "linux"))]
        let ours: Result<(), String> = Err("this is not Linux".to_owned());
        let result = match (ours, &program) {
            (Ok(()), _) => OWN.to_owned(),
            (Err(why), None) => {
                format!("no sandbox can be made here ({why}), and bubblewrap is not installed")
            }
            (Err(_), Some(program)) => match bwrap::probe(program) {
                Ok(()) => BUBBLEWRAP.to_owned(),
                Err(why) => format!("bubblewrap can't make a sandbox here: {why}"),
            },
        };
        // not remembered: tried again next time
        let _ = atomic::write(&note, format!("{key}{result}").as_bytes());
        result
    });
    match (result.as_str(), program) {
        #[cfg(target_os = "linux")]
        (OWN, _) => Ok(Box::new(own())),
        (BUBBLEWRAP, Some(program)) => Ok(Box::new(bwrap::Bwrap {
            program,
            hermake: hermake.to_path_buf(),
        })),
        _ => Err(result),
    }
}
