//! Pure tasks: in a stage of their own, in a sandbox where there is one.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Engine;
use super::bring::Taken as Outputs;
use super::plan::{Plan, named};
use super::runner::CHANGED;
use crate::config::Task;
use crate::exec::command::Spec;
use crate::exec::sandbox::{self, Cell, Sandbox, Wrapped};
use crate::exec::stage::{COPIED, Misdeed, Stage, Taken, Use};
use crate::exec::tools;
use crate::runlog::TaskLog;

/// `sandbox = "none"` of the project file, as kept in the graph.
const NONE: u8 = 2;
/// And `sandbox = "bubblewrap"`.
const BUBBLEWRAP: u8 = 3;

impl Engine {
    /// The sandbox of this machine; without one, that is said once per checkout.
    fn sandbox(&self) -> Option<&dyn Sandbox> {
        let found = self.sandbox.get_or_init(|| {
            let mode = self.graph.settings.sandbox;
            if mode != 0 && mode != BUBBLEWRAP {
                return None;
            }
            match sandbox::find(&self.folder(), self.boot, mode == BUBBLEWRAP) {
                Ok(found) => Some(found),
                Err(why) => {
                    let told = self.folder().join("told-no-sandbox");
                    if std::fs::read_to_string(&told).ok().as_ref() != Some(&why) {
                        let text =
                            format!("{why}; tasks see staged inputs and a clean environment");
                        self.say.note("no sandbox", &text);
                        // told again next time, if it can't be noted
                        let _ = crate::fs::atomic::write(&told, why.as_bytes());
                    }
                    None
                }
            }
        });
        found.as_deref()
    }

    /// Runs `argv` with nothing but its declared inputs around it.
    pub(super) fn run_pure(
        &self,
        task: &Task,
        argv: &[String],
        plan: &Plan,
        log: &mut TaskLog,
    ) -> Result<Outputs> {
        if self.graph.settings.sandbox == NONE {
            return self.run_in_place(task, argv, plan, log);
        }
        let stage = self.run_in_stage(task, argv, plan, log)?;
        self.unchanged(task, plan)?;
        self.take_outputs(task, &stage.root())
    }

    /// Runs `argv` in a stage of its own, and leaves its outputs there.
    pub(super) fn run_in_stage(
        &self,
        task: &Task,
        argv: &[String],
        plan: &Plan,
        log: &mut TaskLog,
    ) -> Result<Taken<'_>> {
        let sandbox = self.sandbox();
        let how = if sandbox.is_some() {
            Use::Mounted
        } else {
            Use::Linked
        };
        for from_store in [false, true] {
            let mut stage = self.stages.take(how)?;
            stage.copied = sandbox.map_or(COPIED, Sandbox::copied);
            let watched = self.fill(plan, &mut stage, from_store)?;
            stage.room_for(&task.outputs)?;
            let spec = self.pure_spec(task, argv, &stage, sandbox)?;
            self.command(task, &spec, log)?;
            if let Some(misdeed) = stage.misdeed(&task.outputs)? {
                bail!(told(&misdeed, task));
            }
            let Some(path) = self.changed_since(&watched) else {
                return Ok(stage);
            };
            let changed = format!("`{path}` changed while it ran");
            if plan.manifest.inputs.iter().any(|input| input.0 == *path) {
                break;
            }
            log.note(&format!("{changed}: once more, with the store's copy"));
        }
        bail!(CHANGED)
    }

    fn pure_spec(
        &self,
        task: &Task,
        argv: &[String],
        stage: &Stage,
        sandbox: Option<&dyn Sandbox>,
    ) -> Result<Spec> {
        let programs = self.finder.all(&task.tools)?;
        let argv: Vec<OsString> = argv
            .iter()
            .map(|a| self.secrets().fill(&named(task, a)).into())
            .collect();
        let argv = self.with_program(task, argv, &tools::folder(&self.folder(), &programs)?)?;
        let cell = Cell {
            stage: &stage.dir,
            programs: &programs,
            large: &stage.large,
            network: task.network,
        };
        let wrapped = match sandbox {
            // inside, the program is found along the task's PATH
            Some(sandbox) => {
                let name = |p: &OsString| std::path::Path::new(p).file_name().map(OsString::from);
                let mut inner = argv.clone();
                let on_path = programs
                    .iter()
                    .any(|(n, _)| name(&argv[0]).is_some_and(|f| f == n.as_str()));
                if on_path && let Some(file) = name(&argv[0]) {
                    inner[0] = file;
                }
                sandbox.wrap(&inner, &cell)?
            }
            None => Wrapped {
                argv,
                cwd: stage.root(),
                env: vec![
                    (
                        "PATH".into(),
                        tools::folder(&self.folder(), &programs)?.into(),
                    ),
                    ("HOME".into(), stage.dir.join("home").into()),
                    ("TMPDIR".into(), stage.dir.join("tmp").into()),
                ],
                cage: None,
            },
        };
        let mut env = wrapped.env;
        env.extend(Self::fixed_environment());
        env.extend(
            task.env
                .iter()
                .map(|(k, v)| (k.into(), self.secrets().fill(&named(task, v)).into())),
        );
        Ok(Spec {
            argv: wrapped.argv,
            cwd: wrapped.cwd,
            env,
            timeout: task.timeout.map(Duration::from_secs),
            mark: sandbox
                .is_none()
                .then(|| stage.dir.join("tmp").display().to_string()),
            daemons: false,
            note: (sandbox.is_some() && wrapped.cage.is_none()).then(|| stage.dir.clone()),
            cage: wrapped.cage,
        })
    }
}

fn told(misdeed: &Misdeed, task: &Task) -> String {
    let advice = "inputs are read-only, copy it to $TMPDIR first";
    match misdeed {
        Misdeed::Wrote(path) => format!(
            "it wrote `{path}`, which is not declared: add it to `outputs` at {}",
            task.at
        ),
        Misdeed::Changed(path) => format!("it changed its input `{path}`: {advice}"),
        Misdeed::Removed(path) => format!("it removed its input `{path}`: {advice}"),
    }
}
