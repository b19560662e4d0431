//! Keeping a task from what it didn't declare, by what the machine offers.

pub mod bwrap;
pub mod init;
pub mod macos;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fs::{RelPath, atomic};

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
}

/// A way to confine a command.
pub trait Sandbox: std::fmt::Debug + Send + Sync {
    /// `command` confined to `cell`.
    fn wrap(&self, command: &[OsString], cell: &Cell<'_>) -> anyhow::Result<Wrapped>;
}

/// The best sandbox of this machine, or why there is none. Tried once per boot, remembered in `hermake`.
pub fn find(hermake: &Path, boot: u64) -> Result<Box<dyn Sandbox>, String> {
    if cfg!(target_os = "macos") {
        return Ok(Box::new(macos::SandboxExec {
            hermake: hermake.to_path_buf(),
        }));
    }
    let Some(program) = bwrap::find() else {
        return Err("bubblewrap is not installed (apt-get install bubblewrap)".to_owned());
    };
    let note = hermake.join("sandbox");
    let tried = fs::read_to_string(&note).unwrap_or_default();
    // a container may share the checkout and the boot, and offer less
    let whose = fs::read_link("/proc/self/ns/user").unwrap_or_default();
    let own = format!("{boot} {} {} ", whose.display(), program.display());
    let result = if let Some(result) = tried.strip_prefix(&own) {
        result.to_owned()
    } else {
        let result = bwrap::probe(&program).err().unwrap_or_default();
        // not remembered: tried again next time
        let _ = atomic::write(&note, format!("{own}{result}").as_bytes());
        result
    };
    if result.is_empty() {
        Ok(Box::new(bwrap::Bwrap {
            program,
            hermake: hermake.to_path_buf(),
        }))
    } else {
        Err(format!("bubblewrap can't make a sandbox here: {result}"))
    }
}
