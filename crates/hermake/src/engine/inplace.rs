//! Impure tasks: in the checkout itself, with the user's PATH behind the declared tools.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Engine;
use super::bring::Taken;
use super::plan::Plan;
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
        log: &mut TaskLog,
    ) -> Result<Taken> {
        let watched = self.watch_needed(plan)?;
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
        self.command(task, &spec, log)?;
        if let Some(path) = self.changed_since(&watched) {
            bail!("`{path}` changed while it ran: nothing is recorded, run again");
        }
        self.unchanged(task, plan)?;
        let templated = argv
            .iter()
            .chain(task.env.iter().map(|e| &e.1))
            .any(|a| a.contains(OUT_OPEN));
        if templated {
            self.take_outputs(task, &stage.root())
        } else {
            self.own_outputs(task)
        }
    }

    /// Outputs that a command wrote to their final places itself.
    pub(super) fn own_outputs(&self, task: &Task) -> Result<Taken> {
        let (mut out, mut small) = (Vec::new(), Small::new());
        for output in &task.outputs {
            let path = self.root.join(&output.path);
            let tree = self.made_tree(task, output, &path, &mut small)?;
            if self.keeps(task) {
                let entries: Vec<_> = tree.iter().map(|s| s.entry.clone()).collect();
                self.store.keep_large(&path, &entries, false)?;
            }
            out.push(tree);
        }
        Ok((out, small))
    }
}
