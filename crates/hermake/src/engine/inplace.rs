//! Impure tasks: in the checkout itself, with the user's PATH behind the declared tools.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::Engine;
use super::bring::{Made, Taken};
use super::plan::Plan;
use super::why::Why;
use crate::config::Task;
use crate::config::task::{OUT_OPEN, fill_outputs};
use crate::exec::command::Spec;
use crate::exec::stage::Use;
use crate::runlog::TaskLog;
use crate::store::Small;

impl Engine {
    /// The environment of commands that run in the checkout.
    pub(super) fn open_environment(&self, task: &Task) -> Result<Vec<(OsString, OsString)>> {
        let mut path = OsString::from(self.tool_folder(task)?);
        // without a sandbox a pure task still has nothing but its tools
        let pure = !task.in_place();
        if let Some(users) = std::env::var_os("PATH").filter(|_| !pure) {
            path.push(":");
            path.push(users);
        }
        let mut env = Self::fixed_environment();
        env.push(("PATH".into(), path));
        if pure {
            return Ok(env);
        }
        let kept = ["HOME", "USER", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"].into_iter();
        for name in kept.chain(task.pass_env.iter().map(String::as_str)) {
            if let Some(value) = std::env::var_os(name) {
                env.push((name.into(), value));
            }
        }
        Ok(env)
    }

    /// Runs `argv` in the checkout. `{{ out }}` is a private path until the task has succeeded.
    pub(super) fn run_in_place(
        &self,
        task: &Task,
        argv: &[String],
        plan: &Plan,
        why: &Why,
    ) -> Result<Made> {
        let mut log = self.run().task(task, why, argv);
        let watched = self
            .watch_needed(plan)
            .map_err(|e| self.failed(task, &mut log, &format!("{e:#}"), false))?;
        let stage = self.stages.take(Use::Outputs)?;
        stage.room_for(&task.outputs)?;
        let staged = |text: &str| {
            let text = &self.secrets().fill(text);
            fill_outputs(text, |i| {
                let path = task
                    .outputs
                    .get(i)
                    .map(|o| o.path.as_str())
                    .unwrap_or_default();
                let full = stage.root().join(path);
                full.strip_prefix(&self.root)
                    .unwrap_or(&full)
                    .display()
                    .to_string()
            })
        };
        let mut env = self.open_environment(task)?;
        env.push(("TMPDIR".into(), stage.dir.join("tmp").into()));
        if !task.in_place() {
            env.push(("HOME".into(), stage.dir.join("home").into()));
        }
        env.extend(task.env.iter().map(|(k, v)| (k.into(), staged(v).into())));
        let words = argv.iter().map(|a| staged(a).into()).collect();
        let spec = Spec {
            argv: self.with_program(task, words, &self.tool_folder(task)?)?,
            cwd: self.root.clone(),
            env,
            timeout: task.timeout.map(Duration::from_secs),
            mark: Some(stage.dir.join("tmp").display().to_string()),
            daemons: false,
            note: None,
            cage: None,
        };
        self.command(task, &spec, &mut log)?;
        if let Some(path) = self.changed_since(&watched) {
            let message = format!("`{path}` changed while it ran: nothing is recorded, run again");
            return Err(self.failed(task, &mut log, &message, false));
        }
        let templated = argv
            .iter()
            .chain(task.env.iter().map(|e| &e.1))
            .any(|a| a.contains(OUT_OPEN));
        let outputs = if templated {
            self.take_outputs(task, &stage.root(), &mut log)?
        } else {
            self.own_outputs(task, &mut log)?
        };
        Ok(self.made(&mut log, outputs))
    }

    /// Outputs that a command wrote to their final places itself.
    pub(super) fn own_outputs(&self, task: &Task, log: &mut TaskLog) -> Result<Taken> {
        let (mut out, mut small) = (Vec::new(), Small::new());
        for output in &task.outputs {
            let path = self.root.join(&output.path);
            let wrong = match fs::symlink_metadata(&path) {
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
                return Err(self.failed(
                    task,
                    log,
                    &format!("its output `{}` {wrong}", output.path),
                    false,
                ));
            }
            let tree = self.scan_made(&path, task.store, &mut small)?;
            if task.store {
                let entries: Vec<_> = tree.iter().map(|s| s.entry.clone()).collect();
                self.store.keep_large(&path, &entries, false)?;
            }
            out.push(tree);
        }
        Ok((out, small))
    }
}
