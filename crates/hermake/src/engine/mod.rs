//! Deciding what is out of date, and bringing it up to date.

mod back;
pub mod bring;
pub mod determinism;
pub mod earlier;
pub mod fetch;
pub mod forecast;
pub mod hints;
pub mod inplace;
pub mod needed;
pub mod outputs;
pub mod plan;
pub mod quick;
pub mod render;
pub mod runner;
pub mod service;
pub mod staged;
pub mod walk;
pub mod why;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use anyhow::Result;

use crate::config::secret::Secrets;
use crate::config::{Graph, Task};
use crate::exec::sandbox::Sandbox;
use crate::exec::stage::Pool;
use crate::exec::tools::Finder;
use crate::fs::lock::{Many, One};
use crate::fs::{Digest, Fingerprint, RelPath};
use crate::report::Say;
use crate::runlog::{Limits, Run};
use crate::state::{StatCache, State};
use crate::store::Store;
use crate::texts::Texts;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one option of the command line"
)]
pub struct Options {
    /// Run even if up to date.
    pub force: bool,
    /// Say what would run, and why; change nothing.
    pub dry: bool,
    /// Answer only by the exit status whether something would run.
    pub question: bool,
    /// Go on with what doesn't depend on a failed task.
    pub keep_going: bool,
    /// Tell of hits too, and show all output.
    pub verbose: bool,
    /// Tell of failures only.
    pub silent: bool,
    /// Show what a task prints in one piece.
    pub group: bool,
    /// Tasks at a time.
    pub jobs: Option<usize>,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be done.
    Fresh,
    /// Its outputs were taken from the store.
    Restored,
    /// It ran.
    Ran,
    /// It would run.
    Would,
}

/// A project, opened.
#[derive(Debug)]
pub struct Engine {
    /// Its root.
    pub root: PathBuf,
    /// Its tasks.
    pub graph: Graph,
    /// Results kept for all checkouts.
    pub store: Store,
    /// What the user asked for.
    pub options: Options,
    /// Where people read.
    pub say: Say,
    state: Mutex<State>,
    /// Whether the store can be written to.
    kept: OnceLock<bool>,
    /// Digests of files.
    cache: StatCache,
    finder: Finder,
    run: OnceLock<Arc<Run>>,
    texts: OnceLock<Texts>,
    secrets: OnceLock<Secrets>,
    sandbox: OnceLock<Option<Box<dyn Sandbox>>>,
    /// True if the working directory is the root: then paths need not be made absolute, and the kernel has
    /// fewer names to look up for each `stat`.
    here: bool,
    /// Folders that were found to be inside of the project.
    inside: Mutex<std::collections::HashSet<PathBuf>>,
    boot: u64,
    /// Folders with the links to a task's tools, by the tools.
    tool_folders: Mutex<HashMap<Vec<String>, PathBuf>>,
    stages: Pool,
    /// The root, without symlinks.
    real_root: OnceLock<PathBuf>,
    /// One per output, held while the task that makes it is brought up to date; see [`Engine::hold`].
    locks: Many,
    /// Held while outputs that another process has replaced are put back.
    mending: Mutex<()>,
}

impl Engine {
    /// Opens the project at `root`. `write` is false for questions: they leave no trace.
    pub fn open(root: &Path, options: Options, say: Say, write: bool) -> Result<Self> {
        let graph = Graph::open(root, write)?;
        let store = Store::new(
            graph
                .settings
                .cache_dir
                .as_deref()
                .map(|d| root.join(d))
                .as_deref(),
        )?;
        let path = std::env::var_os("PATH");
        let here = std::env::current_dir().is_ok_and(|dir| dir == root);
        Ok(Self {
            state: Mutex::new(State::open(root)),
            kept: OnceLock::new(),
            cache: StatCache::new(if here { Path::new("") } else { root }),
            tool_folders: Mutex::default(),
            stages: Pool::new(root.join("build/.hermake")),
            real_root: OnceLock::new(),
            finder: Finder::new(root, path.as_deref()),
            run: OnceLock::new(),
            texts: OnceLock::new(),
            secrets: OnceLock::new(),
            sandbox: OnceLock::new(),
            inside: Mutex::default(),
            here,
            boot: crate::state::boot(),
            mending: Mutex::default(),
            locks: Many::new(root.join("build/.hermake/task-locks")),
            root: root.to_path_buf(),
            graph,
            store,
            options,
            say,
        })
    }

    /// Keeps all others away from the outputs of `task`; those whose variables have other values too.
    fn hold(&self, task: &Task) -> Result<Vec<One<'_>>> {
        let mut told = false;
        let mut waiting = || {
            if !std::mem::replace(&mut told, true) {
                self.say
                    .note(&task.name, "another hermake is at it: waiting");
            }
        };
        let names = lock_names(task);
        names
            .iter()
            .map(|name| self.locks.take(name, &mut waiting))
            .collect()
    }

    /// The same if nobody else has any of them.
    fn try_hold(&self, task: &Task) -> Result<Option<Vec<One<'_>>>> {
        let names = lock_names(task);
        names.iter().map(|name| self.locks.try_take(name)).collect()
    }

    /// This checkout's state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The digest of the file `path` (relative to the root, or absolute), whose fingerprint is `fp`,
    /// and the fingerprint to remember with it.
    pub fn digest(&self, path: &RelPath, fp: Fingerprint) -> Result<(Digest, Fingerprint)> {
        if self.cache.wants_all(path, fp) {
            self.cache.learn_all(&self.state());
        }
        self.cache.digest(path, fp)
    }

    /// `build/.hermake`.
    pub fn folder(&self) -> PathBuf {
        self.root.join("build/.hermake")
    }

    /// Where the project's `path` is.
    fn at<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        if self.here {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(self.root.join(path))
        }
    }

    /// A name for something unfinished, on the checkout's file system.
    pub fn tmp(&self) -> PathBuf {
        self.at(Path::new("build/.hermake/tmp"))
            .join(crate::fs::atomic::unique())
    }

    /// The run that this process belongs to; begun when the first task runs.
    pub fn run(&self) -> &Arc<Run> {
        let settings = &self.graph.settings;
        let limits = Limits {
            runs: settings.runs,
            size: settings.logs_size,
            age: settings.logs_age,
        };
        self.run
            .get_or_init(|| Arc::new(Run::begin(&self.folder(), limits)))
    }

    /// Values of secret variables.
    pub fn secrets(&self) -> &Secrets {
        self.secrets
            .get_or_init(|| Secrets::new(&self.graph.settings.secrets))
    }

    /// Earlier texts of inputs.
    pub fn texts(&self) -> &Texts {
        self.texts.get_or_init(|| Texts::new(&self.folder()))
    }

    /// True if results of `task` go to the store; if that can't be written to, this is said once.
    fn keeps(&self, task: &Task) -> bool {
        task.store && *self.kept.get_or_init(|| {
            let ready = self.store.ready();
            if let Err(e) = &ready {
                let text = format!(
                    "nothing can be kept ({e:#}): set cache-dir in hermake.toml, or XDG_CACHE_HOME"
                );
                self.say.note("store", &text);
            }
            ready.is_ok()
        })
    }

    /// Keeps the store within its limits if it grew; a failure to do so is no failure of the run.
    pub fn tidy(&self) {
        self.store.note_used();
        let limits = &self.graph.settings;
        if self.run.get().is_some()
            && self.kept.get() != Some(&false)
            && let Err(e) = self.store.gc_if_due(limits.store_size, limits.store_age)
        {
            self.say.note("store", &format!("{e:#}"));
        }
    }

    /// The task at `index`.
    pub fn task(&self, index: usize) -> &Task {
        &self.graph.tasks[index]
    }
}

/// What stands for a task among the locks: its outputs, in an order that is everyone's; itself, if there are none.
fn lock_names(task: &Task) -> Vec<Digest> {
    if task.outputs.is_empty() {
        return vec![Digest::of(task.id.as_bytes())];
    }
    let mut names: Vec<_> = task
        .outputs
        .iter()
        .map(|o| Digest::of(format!("output {}", o.path).as_bytes()))
        .collect();
    names.sort_unstable();
    names
}
