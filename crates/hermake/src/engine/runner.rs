//! Running a command for a task: its log, its failure, its outputs.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Engine;
use super::bring::{Made, Taken};
use super::plan::Plan;
use crate::config::{Output, Task};
use crate::exec::command::{self, End, Spec};
use crate::exec::{sandbox, signals, tools};
use crate::fs::RelPath;
use crate::fs::relpath::leads_out;
use crate::fs::tree::{Node, Stamped};
use crate::runlog::{Ending, TaskLog};
use crate::store::Small;

/// An input is not what it was when the task started.
pub(super) const CHANGED: &str = "an input changed while it ran: nothing is recorded, run again";

/// A task that did not succeed. Its log says more.
#[derive(Debug)]
pub struct Failed {
    /// What happened, for people, with the last lines.
    pub message: String,
    /// True if we were asked to stop.
    pub interrupted: bool,
}

impl std::error::Error for Failed {}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Engine {
    /// A folder with the task's tools.
    pub(super) fn tool_folder(&self, task: &Task) -> Result<PathBuf> {
        let lock = || {
            self.tool_folders
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        if let Some(known) = lock().get(&task.tools) {
            return Ok(known.clone());
        }
        let made = tools::folder(&self.folder(), &self.finder.all(&task.tools)?)?;
        lock().insert(task.tools.clone(), made.clone());
        Ok(made)
    }

    /// Runs `spec` and writes its log; an end other than good is an error.
    pub(super) fn command(&self, task: &Task, spec: &Spec, log: &mut TaskLog) -> Result<()> {
        let mut live = self.say.live(&task.name, task.progress);
        let from = log.took_us();
        let cut = |line: &[u8]| self.secrets().whole(line);
        let end = command::run(spec, &cut, &mut |stream, line| {
            let text = self.secrets().mask(&String::from_utf8_lossy(line));
            live.line(&text);
            log.line(stream, &text);
        });
        live.finish();
        log.span(&task.name, from);
        let end = match end {
            Ok(end) => match &spec.note {
                Some(stage) => sandbox::init::explain(stage, end),
                None => end,
            },
            Err(e) => {
                let message = self
                    .missing_tool(task, &spec.argv)
                    .unwrap_or_else(|| format!("{e:#}"));
                return Err(self.failed(task, log, &message, false));
            }
        };
        let timeout = task.timeout.unwrap_or(0);
        match end {
            End::Code(0) => Ok(()),
            End::Code(code) => Err(self.failed(task, log, &format!("exit status {code}"), false)),
            End::Killed(signal) => {
                Err(self.failed(task, log, &format!("ended by signal {signal}"), false))
            }
            End::TimedOut => {
                Err(self.failed(task, log, &format!("not done after {timeout} s"), false))
            }
            End::Interrupted => Err(self.failed(task, log, "interrupted", true)),
            End::LeftBehind(names) => {
                let message =
                    format!("it left running: {names}; what should keep running is a `service`");
                Err(self.failed(task, log, &message, false))
            }
        }
    }

    fn missing_tool(&self, task: &Task, argv: &[OsString]) -> Option<String> {
        let program = argv.first()?.to_str()?;
        let listed = task
            .tools
            .iter()
            .any(|t| t == program || tools::members(t).0.contains(&program));
        (!program.contains('/') && !listed && self.finder.find(program).is_some()).then(|| {
            format!(
                "`{program}` is not among its tools: add tools = [\"{program}\"] at {}",
                task.at
            )
        })
    }

    /// Ends the log with a failure and makes the error that shows its last lines.
    pub(super) fn failed(
        &self,
        task: &Task,
        log: &mut TaskLog,
        what: &str,
        interrupted: bool,
    ) -> anyhow::Error {
        let what = &self.secrets().mask(what);
        log.note(what);
        let ending = if interrupted {
            Ending::Interrupted
        } else {
            Ending::Failed
        };
        let path = self.run().end(log, ending, what);
        let mut message = format!("`{}` failed: {what}", task.name);
        for line in log.tail() {
            message.push_str("\n  | ");
            message.push_str(&line);
        }
        for hint in self.undeclared_reads(task, log) {
            message.push_str("\n  = ");
            message.push_str(&hint);
        }
        if let Some(path) = path {
            let shown = path
                .strip_prefix(&self.root)
                .unwrap_or(&path)
                .display()
                .to_string();
            let _ = write!(
                message,
                "\n  all of it: hermake log --task {}   ({shown})",
                task.name
            );
        }
        Failed {
            message,
            interrupted,
        }
        .into()
    }

    /// What was made of the task, or its failure: whatever else went wrong ends its log as well.
    pub(super) fn or_failed<T>(
        &self,
        task: &Task,
        log: &mut TaskLog,
        made: Result<T>,
    ) -> Result<T> {
        made.map_err(|e| match e.downcast::<Failed>() {
            Ok(failed) => failed.into(),
            Err(e) => self.failed(task, log, &format!("{e:#}"), signals::interrupted()),
        })
    }

    /// An error if an input is not any more what `plan` was made of.
    pub(super) fn unchanged(&self, task: &Task, plan: &Plan) -> Result<()> {
        anyhow::ensure!(self.still(task, plan)?, CHANGED);
        Ok(())
    }

    /// `argv` with its program by its whole path, found in `folder` (or else, for tasks that run in the checkout,
    /// along the user's PATH): `execvp` would look along our own.
    pub(super) fn with_program(
        &self,
        task: &Task,
        mut argv: Vec<OsString>,
        folder: &Path,
    ) -> Result<Vec<OsString>> {
        let Some(name) = argv
            .first()
            .and_then(|a| a.to_str())
            .filter(|n| !n.contains('/'))
        else {
            return Ok(argv);
        };
        let tool = folder.join(name);
        let open = || self.finder.find(name).filter(|_| task.in_place());
        let Some(program) = Some(tool).filter(|p| p.exists()).or_else(open) else {
            let what = self.missing_tool(task, &argv).unwrap_or_else(|| {
                format!(
                    "there is no program `{name}`: add it to `tools` at {}",
                    task.at
                )
            });
            bail!("{}", self.secrets().mask(&what));
        };
        argv[0] = program.into();
        Ok(argv)
    }

    /// Variables that are the same for every task.
    pub(super) fn fixed_environment() -> Vec<(OsString, OsString)> {
        vec![
            ("TZ".into(), "UTC".into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
            // 1980: the earliest that zip can hold
            ("SOURCE_DATE_EPOCH".into(), "315532800".into()),
        ]
    }

    /// Ends the log of a success.
    pub(super) fn made(&self, log: &mut TaskLog, (outputs, small): Taken) -> Made {
        let took = log.took();
        self.run().end(log, Ending::Ok, "");
        self.say.done(log.name(), took);
        Made {
            outputs,
            took,
            log: log.kept(),
            small,
        }
    }

    /// Keeps the outputs that lie below `staged`, and puts them where they belong.
    pub(super) fn take_outputs(&self, task: &Task, staged: &Path) -> Result<Taken> {
        let staged = self.at(staged.strip_prefix(&self.root).unwrap_or(staged));
        let (mut scanned, mut small) = (Vec::new(), Small::new());
        for output in &task.outputs {
            let from = staged.join(&output.path);
            let mut tree = self.made_tree(task, output, &from, &mut small)?;
            if output.dir && tree.len() == 1 {
                bail!("its output `{}` was left empty", output.path);
            }
            if task.link {
                read_only(&from, &mut tree)?;
            }
            scanned.push(tree);
        }
        let mut placed = Vec::new();
        for (output, tree) in task.outputs.iter().zip(scanned) {
            let from = staged.join(&output.path);
            let to = self.at(Path::new(&output.path));
            let entries: Vec<_> = tree.into_iter().map(|s| s.entry).collect();
            if self.keeps(task) {
                self.store.keep_large(&from, &entries, task.link)?;
            }
            self.inside(&to)?;
            let placed_at = crate::fs::now_ns();
            crate::store::place::swap(&from, &to)?;
            placed.push(self.stamp(&to, entries, placed_at)?);
        }
        Ok((placed, small))
    }

    /// Reads the output that the task has just made at `path`.
    pub(super) fn made_tree(
        &self,
        task: &Task,
        output: &Output,
        path: &Path,
        small: &mut Small,
    ) -> Result<Vec<Stamped>> {
        let wrong = match fs::symlink_metadata(path) {
            Ok(meta) if output.dir && !meta.is_dir() => {
                Some("is not a folder, but declared with a slash")
            }
            Ok(meta) if !output.dir && meta.is_dir() => {
                Some("is a folder: declare it with a trailing slash")
            }
            Ok(_) => None,
            Err(_) => Some("was not written"),
        };
        if let Some(wrong) = wrong {
            bail!("its output `{}` {wrong}", output.path);
        }
        let tree = self
            .scan_made(path, self.keeps(task), small)
            .with_context(|| format!("its output `{}`", output.path))?;
        let root = RelPath::new(&output.path);
        for entry in tree.iter().map(|s| &s.entry) {
            let Node::Symlink(target) = &entry.node else {
                continue;
            };
            let link = entry.path.under(&root);
            if leads_out(&link, target) {
                bail!(
                    "its output `{link}` is a symlink to {target}, out of the project: copy what is there, or let it lead to a path in the project that is relative to the link"
                );
            }
        }
        Ok(tree)
    }
}

/// Takes the permission to write from the files of the tree at `root`.
fn read_only(root: &Path, tree: &mut [Stamped]) -> Result<()> {
    for entry in tree.iter_mut().map(|s| &mut s.entry) {
        if matches!(entry.node, Node::File(_)) && entry.mode & 0o222 != 0 {
            entry.mode &= !0o222;
            let path = entry.path.below(root);
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))
                .with_context(|| format!("making {} read-only", path.display()))?;
        }
    }
    Ok(())
}
