//! Things that keep running: started when their key changed or they don't run.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bring::{Taken, entries};
use super::plan::named;
use super::quick::Tools;
use super::why::Why;
use super::{Engine, Outcome};
use crate::config::Task;
use crate::config::task::Service;
use crate::exec::command::{self, End, Spec, whole};
use crate::runlog::{Ending, TaskLog};

/// A status command that takes longer counts as "not running".
const STATUS_TIMEOUT: Duration = Duration::from_secs(30);

impl Engine {
    fn service_spec(&self, task: &Task, argv: &[String]) -> Result<Spec> {
        let mut env = self.open_environment(task)?;
        env.extend(
            task.env
                .iter()
                .map(|(k, v)| (k.into(), self.secrets().fill(&named(task, v)).into())),
        );
        let words = argv
            .iter()
            .map(|a| self.secrets().fill(&named(task, a)).into())
            .collect();
        Ok(Spec {
            argv: self.with_program(task, words, &self.tool_folder(task)?)?,
            cwd: self.root.clone(),
            env,
            timeout: task.timeout.map(Duration::from_secs),
            mark: None,
            daemons: true,
            note: None,
            cage: None,
        })
    }

    /// Asks the service's own `status`.
    pub fn running(&self, task: &Task, service: &Service) -> Result<bool> {
        let spec = self.service_spec(task, &service.status);
        let mut spec = spec.with_context(|| format!("the status of `{}`", task.name))?;
        spec.timeout = Some(STATUS_TIMEOUT);
        let end = command::run(&spec, &whole, &mut |_, _| ());
        // its program may be named by a secret
        let masked = |e: anyhow::Error| anyhow::anyhow!(self.secrets().mask(&format!("{e:#}")));
        Ok(end.map_err(masked)? == End::Code(0))
    }

    pub(super) fn bring_service(&self, task: &Task, service: &Service) -> Result<Outcome> {
        let prev = self.state().task(&task.id);
        let plan = self.plan(task)?;
        let running = self.running(task, service)?;
        let mut why = Why::NotRunning;
        if self.options.force {
            why = Why::Forced;
        } else if let Some(prev) = &prev {
            if prev.key != plan.key {
                why = self.changed(task, &plan, Some(prev));
            } else if running {
                match self.compare(task, &entries(&prev.outputs), true) {
                    Ok(outputs) => {
                        let stale =
                            !self.quick_self(task, &prev.glance(), &Tools::new(&self.finder))
                                || plan.needs != prev.needs;
                        if stale {
                            let mut renewed = self.state_of(task, plan, outputs);
                            renewed.run.clone_from(&prev.run);
                            self.state().record(&renewed)?;
                        }
                        self.say.fresh(&task.name);
                        return Ok(Outcome::Fresh);
                    }
                    Err(difference) => why = difference.into(),
                }
            }
        } else if running {
            why = Why::NoRecord;
        }
        self.say.miss(&task.name, &why.line());
        let mut log = self.run().task(task, &why, &service.start);
        // not before it is up is anything known of it: a kill in between makes the next call start again
        self.state().forget(&task.id)?;
        // What runs without a record is what an interrupted call started: `start` goes on from it.
        let outdated = running && !matches!(why, Why::NoRecord);
        let up = self.bring_up(task, service, outdated, &mut log);
        let outputs = self.or_failed(task, &mut log, up)?;
        let made = self.made(&mut log, outputs);
        let mut state = self.state_of(task, plan, made.outputs);
        state.run = Some(self.run().id().to_owned());
        self.state().record(&state)?;
        Ok(Outcome::Ran)
    }

    /// Starts the service, or what stands for that if an outdated one runs; gives its outputs when it is ready.
    fn bring_up(
        &self,
        task: &Task,
        service: &Service,
        outdated: bool,
        log: &mut TaskLog,
    ) -> Result<Taken> {
        match &service.reload {
            Some(reload) if outdated && !self.options.force => {
                self.step(task, "reload", reload, log)?;
            }
            _ => {
                if outdated {
                    self.step(task, "stop", &service.stop, log)?;
                }
                self.step(task, "start", &service.start, log)?;
            }
        }
        if let Some(ready) = &service.ready {
            self.step(task, "ready", ready, log)?;
        }
        self.own_outputs(task)
    }

    fn step(&self, task: &Task, what: &str, argv: &[String], log: &mut TaskLog) -> Result<()> {
        log.note(what);
        self.command(task, &self.service_spec(task, argv)?, log)
    }

    /// Stops the service if it runs; true if it did.
    pub fn stop(&self, task: &Task, service: &Service) -> Result<bool> {
        if !self.running(task, service)? {
            return Ok(false);
        }
        let mut log = self.run().task(task, &Why::Forced, &service.stop);
        let stopped = self.step(task, "stop", &service.stop, &mut log);
        self.or_failed(task, &mut log, stopped)?;
        self.run().end(&mut log, Ending::Ok, "");
        Ok(true)
    }
}
