//! Linux: namespaces of its own for each task, made by a child of ours that stays as the first process in them.

mod cage;
mod dev;
mod enter;
mod init;
mod skeleton;

use std::ffi::{CString, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

pub use cage::Cage;
pub use enter::start;
pub use init::Note;

use super::layout::{HOME, OWN, ROOT, Tools};
use super::{Cell, Sandbox, Wrapped};
use crate::exec::command::{self, End, Spec};
use crate::exec::tools;
use crate::fs::atomic;
use cage::Step;

/// Copying as much as this takes as long as a mount.
const COPIED: u64 = 128 << 10;

/// Folders and files of /proc that root could write to even without any capability.
const ROOTS_OWN: [&str; 11] = [
    "sys",
    "sysrq-trigger",
    "irq",
    "bus",
    "fs",
    "acpi",
    "scsi",
    "mtrr",
    "driver",
    "tty",
    "dynamic_debug",
];

/// Makes the namespaces itself.
#[derive(Debug)]
pub struct Own {
    /// `build/.hermake`.
    hermake: PathBuf,
    /// What of /proc is to be read-only.
    covered: Vec<PathBuf>,
    /// Where it is noted that it works here.
    tried: PathBuf,
    /// What tasks without and with the network begin with.
    bases: [OnceLock<Base>; 2],
}

/// The same for every task of this process.
#[derive(Debug)]
struct Base {
    /// The prepared folder.
    root: CString,
    /// Parts of the system that are mounted there.
    parts: Vec<PathBuf>,
}

impl Own {
    /// For the project with this `build/.hermake`; `tried` is the file that says that it works here.
    pub fn new(hermake: &Path, tried: &Path) -> Self {
        let proc = ROOTS_OWN.iter().map(|name| Path::new("/proc").join(name));
        let root = rustix::process::geteuid().is_root();
        Self {
            hermake: hermake.to_path_buf(),
            covered: proc.filter(|path| root && path.exists()).collect(),
            tried: tried.to_path_buf(),
            bases: Default::default(),
        }
    }

    fn base(&self, network: bool) -> Result<&Base> {
        let known = &self.bases[usize::from(network)];
        if let Some(base) = known.get() {
            return Ok(base);
        }
        let root = std::path::absolute(skeleton::folder(&self.hermake, network)?)?;
        let mut parts: Vec<_> = skeleton::system().map(Path::to_path_buf).collect();
        parts.extend(skeleton::etc(network));
        let root = cage::text(&root)?;
        // another thread's is the same
        Ok(known.get_or_init(|| Base { root, parts }))
    }

    /// Tries to make a sandbox; says why it can't be.
    pub fn probe(&self) -> Result<()> {
        let stage = self.hermake.join("tmp").join(atomic::unique());
        for part in ["root", "home", "tmp"] {
            fs::create_dir_all(stage.join(part))?;
        }
        let cell = Cell {
            stage: &stage,
            programs: &[],
            large: &[],
            network: false,
        };
        let end = self.wrap(&["/usr/bin/true".into()], &cell).and_then(|w| {
            let spec = Spec {
                argv: w.argv,
                cwd: w.cwd,
                env: w.env,
                timeout: None,
                mark: None,
                daemons: false,
                note: None,
                cage: w.cage,
            };
            command::run(&spec, &command::whole, &mut |_, _| {})
        });
        atomic::remove(&stage)?;
        match end? {
            End::Code(0) => Ok(()),
            end => bail!("/usr/bin/true ended with {end:?}"),
        }
    }

    /// The tree of mounts: first all that is read-only, then what the task may write to, then what is the kernel's.
    fn cage(&self, cell: &Cell<'_>) -> Result<Cage> {
        let base = self.base(cell.network)?;
        let mut cage = Cage {
            root: base.root.clone(),
            steps: Vec::with_capacity(48),
            network: cell.network,
            tried: self.tried.clone(),
        };
        for part in &base.parts {
            cage.bind(part, part)?;
        }
        let Tools { inside, foreign } = Tools::of(cell.programs)?;
        let own = Path::new(OWN);
        cage.bind(&tools::folder(&self.hermake, &inside)?, &own.join("bin"))?;
        if !foreign.is_empty() {
            let names = foreign.iter().map(|f| f.0.as_str());
            cage.bind(&self.places(names)?, &own.join("tools"))?;
        }
        for (_, real, to) in &foreign {
            cage.bind(real, to)?;
        }
        cage.limit(Path::new("/"), true, true)?;
        for (part, at) in [("home", HOME), ("tmp", "/tmp"), ("root", ROOT)] {
            cage.bind(&cell.stage.join(part), Path::new(at))?;
            cage.limit(Path::new(at), true, false)?;
        }
        for (from, to) in cell.large {
            let place = cell.stage.join("root").join(to.as_path());
            fs::write(&place, "").with_context(|| format!("creating {}", place.display()))?;
            let at = Path::new(ROOT).join(to.as_path());
            cage.bind(from, &at)?;
            cage.limit(&at, true, true)?;
        }
        dev::mount(&mut cage)?;
        cage.steps.push(Step::Fresh {
            kind: c"proc",
            at: c"proc",
            options: c"",
            programs: false,
        });
        for path in &self.covered {
            let here = path.strip_prefix("/").unwrap_or(path);
            // the new one's, not the one that it was found in
            cage.steps.push(Step::Bind {
                from: cage::text(here)?,
                at: cage::text(here)?,
            });
            cage.limit(path, true, true)?;
        }
        Ok(cage)
    }

    /// A folder with an empty file for each of `names`, to mount programs at.
    fn places<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<PathBuf> {
        let list: Vec<_> = names.collect();
        let key = crate::fs::Digest::of(list.join("\0").as_bytes()).short();
        skeleton::once(&self.hermake, "places", &key, |dir| {
            fs::create_dir_all(dir)?;
            for name in &list {
                fs::write(dir.join(name), "")?;
            }
            Ok(())
        })
    }
}

impl Sandbox for Own {
    fn wrap(&self, command: &[OsString], cell: &Cell<'_>) -> Result<Wrapped> {
        let cage = self.cage(cell)?;
        Ok(Wrapped {
            argv: command.to_vec(),
            cwd: ROOT.into(),
            env: vec![
                ("PATH".into(), Path::new(OWN).join("bin").into()),
                ("HOME".into(), HOME.into()),
                ("TMPDIR".into(), "/tmp".into()),
            ],
            cage: Some(cage),
        })
    }

    fn copied(&self) -> u64 {
        COPIED
    }
}
