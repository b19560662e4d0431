//! Bringing one task up to date: already so, restored from the store, or made.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::plan::Plan;
use super::quick::Tools;
use super::why::Why;
use super::{Engine, Outcome};
use crate::config::{Kind, Task};
use crate::fs::Digest;
use crate::fs::tree::{Entry, Stamped};
use crate::state::TaskState;
use crate::store::place::Damaged;
use crate::store::{Record, Small};

/// What a task made.
#[derive(Debug)]
pub struct Made {
    /// Its outputs, in place.
    pub outputs: Vec<Vec<Stamped>>,
    /// Milliseconds.
    pub took: u64,
    /// What it printed.
    pub log: Vec<u8>,
    /// Small contents of its outputs, which go to the store with the record.
    pub small: Small,
}

/// Outputs in place, and the small contents among them.
pub type Taken = (Vec<Vec<Stamped>>, Small);

/// The entries of stamped trees.
pub fn entries(trees: &[Vec<Stamped>]) -> Vec<Vec<Entry>> {
    trees
        .iter()
        .map(|tree| tree.iter().map(|s| s.entry.clone()).collect())
        .collect()
}

impl Engine {
    /// The one task that a recipe of Make names. What it needs must be up to date: Make has seen to that.
    pub fn leaf(&self, index: usize) -> Result<Outcome> {
        let task = self.task(index);
        let deep = std::env::var_os("MAKELEVEL").is_none();
        let mut seen = HashMap::new();
        if self.options.dry || self.options.question {
            return self.would(index, &mut seen);
        }
        for need in task.needs.iter().chain(&task.feeds) {
            let ready = if deep {
                self.fresh(*need, &mut seen)?
            } else {
                // another Make, with other values of variables, may have put its own outputs there
                self.need_ready(*need) || self.put_back(*need)?
            };
            if !ready {
                let name = &self.task(*need).name;
                bail!(
                    "`{}` needs `{name}`, which is not up to date: run `hermake run {name}`",
                    task.name
                );
            }
        }
        if !self.options.force && self.quick(index) {
            return Ok(Outcome::Fresh);
        }
        self.bring(index)
    }

    /// True if `stat` alone says that the task is up to date, as far as its needs are.
    pub fn quick(&self, index: usize) -> bool {
        let task = self.task(index);
        let Some(prev) = self.state().task(&task.id) else {
            return false;
        };
        !matches!(task.kind, Kind::Service(_)) && self.quick_all(task, &prev)
    }

    /// True if `stat` alone says that everything `prev` rests on is as it was.
    fn quick_all(&self, task: &Task, prev: &TaskState) -> bool {
        let prev = prev.glance();
        self.quick_self(task, &prev, &Tools::new(&self.finder))
            && self.quick_needs(task, &prev, &|need| self.result(need))
    }

    /// Digest of the last result of the task at `index`.
    pub fn result(&self, index: usize) -> Option<Digest> {
        self.state().task(&self.task(index).id).map(|s| s.result)
    }

    /// True if the task has run as it is now defined and its outputs are there.
    fn need_ready(&self, index: usize) -> bool {
        let task = self.task(index);
        let Some(state) = self.state().task(&task.id) else {
            return false;
        };
        state.def == task.def
            && (self.quick_outputs(task, &state.glance())
                || self
                    .compare(task, &entries(&state.outputs), state.boot != self.boot)
                    .is_ok())
    }

    /// True if nothing is to be done for the task and all that it needs. Writes nothing.
    pub fn fresh(&self, index: usize, seen: &mut HashMap<usize, bool>) -> Result<bool> {
        if let Some(known) = seen.get(&index) {
            return Ok(*known);
        }
        let task = self.task(index);
        for need in task.needs.iter().chain(&task.feeds) {
            if !self.fresh(*need, seen)? {
                seen.insert(index, false);
                return Ok(false);
            }
        }
        let fresh = self.stale(task)?.is_none();
        seen.insert(index, fresh);
        Ok(fresh)
    }

    /// Why the task would run or be restored; its needs are up to date.
    pub fn stale(&self, task: &Task) -> Result<Option<Why>> {
        let prev = self.state().task(&task.id);
        let Some(prev) = prev else {
            return Ok(Some(Why::NoRecord));
        };
        if !self.quick_all(task, &prev) {
            let plan = self.plan(task)?;
            if plan.key != prev.key {
                return Ok(Some(self.changed(task, &plan, Some(&prev))));
            }
            if let Err(difference) =
                self.compare(task, &entries(&prev.outputs), prev.boot != self.boot)
            {
                return Ok(Some(difference.into()));
            }
        }
        if let Kind::Service(service) = &task.kind
            && !self.running(task, service)?
        {
            return Ok(Some(Why::NotRunning));
        }
        Ok(None)
    }

    fn would(&self, index: usize, seen: &mut HashMap<usize, bool>) -> Result<Outcome> {
        let task = self.task(index);
        for need in task.needs.iter().chain(&task.feeds) {
            if !self.fresh(*need, seen)? {
                let name = &self.task(*need).name;
                self.tell_would(task, &format!("would be looked at again after `{name}`"));
                return Ok(Outcome::Would);
            }
        }
        let why = if self.options.force {
            Some(Why::Forced)
        } else {
            self.stale(task)?
        };
        let Some(why) = why else {
            return Ok(Outcome::Fresh);
        };
        let forecast = self.forecast(task, why);
        self.tell_would(task, &forecast.line());
        Ok(Outcome::Would)
    }

    fn tell_would(&self, task: &Task, text: &str) {
        if self.options.dry {
            self.say.would(&task.name, text);
        }
    }

    /// Brings the task at `index` up to date; its needs are.
    pub fn bring(&self, index: usize) -> Result<Outcome> {
        let task = self.task(index);
        let _held = self.hold(task)?;
        self.state().refresh();
        let done = if let Kind::Service(service) = &task.kind {
            self.bring_service(task, service)
        } else {
            self.bring_made(task)
        };
        let fresh = self.cache.take_fresh();
        self.state().record_files(&fresh)?;
        done
    }

    fn bring_made(&self, task: &Task) -> Result<Outcome> {
        let prev = self.state().task(&task.id);
        let plan = self.plan(task)?;
        // with other values of its variables the task is another; what it was with the default ones tells most
        let last = prev.clone().or_else(|| self.state().task(&task.name));
        let mut why = self.changed(task, &plan, last.as_ref());
        if self.options.force {
            why = Why::Forced;
        } else if let Some(prev) = prev.as_ref().filter(|p| p.key == plan.key) {
            match self.compare(task, &entries(&prev.outputs), prev.boot != self.boot) {
                Ok(outputs) => {
                    self.note_fresh(task, plan, outputs, prev)?;
                    return Ok(Outcome::Fresh);
                }
                Err(difference) => why = difference.into(),
            }
        }
        let _held = self
            .keeps(task)
            .then(|| {
                self.store.lock(&plan.key, || {
                    self.say
                        .note(&task.name, "another checkout makes the same: waiting");
                })
            })
            .transpose()?;
        if task.store
            && !self.options.force
            && let Some(record) = self.store.record(&plan.key)
        {
            let started = crate::runlog::time::now_us();
            match self.restore(task, &record.outputs) {
                Ok(outputs) => {
                    self.run().restored(task, &why, started, record.took);
                    if let Why::Changed { changes } = &why {
                        self.texts().keep_changed(&self.root, changes);
                    }
                    self.store.touch(&plan.key);
                    self.say.hit(&task.name, &why.line());
                    self.state().record(&self.state_of(task, plan, outputs))?;
                    return Ok(Outcome::Restored);
                }
                Err(e) => match e.downcast_ref::<Damaged>() {
                    Some(damaged) => {
                        self.store.drop_blob(&damaged.digest);
                        why = Why::Blob {
                            message: damaged.to_string(),
                        }
                    }
                    None => return Err(e),
                },
            }
        }
        self.make(task, plan, &why)?;
        Ok(Outcome::Ran)
    }

    fn note_fresh(
        &self,
        task: &Task,
        plan: Plan,
        outputs: Vec<Vec<Stamped>>,
        prev: &TaskState,
    ) -> Result<()> {
        let mut state = self.state_of(task, plan, outputs);
        state.run.clone_from(&prev.run);
        self.say.fresh(&task.name);
        self.state().record(&state)
    }

    fn make(&self, task: &Task, plan: Plan, why: &Why) -> Result<()> {
        self.say.miss(&task.name, &why.line());
        if let (Kind::Fetch { .. }, Why::Changed { changes }) = (&task.kind, why)
            && changes.iter().all(|c| c.name.starts_with("url"))
        {
            self.say.note(
                &task.name,
                "the URL changed and the digest did not: fetching again",
            );
        }
        let key = plan.key;
        let argv = match &task.kind {
            Kind::Fetch { urls, .. } => urls.clone(),
            Kind::Render { template, .. } => vec![format!("render {template}")],
            Kind::Run { argv } => argv.clone(),
            Kind::Service(_) => bail!("a service is not made"),
        };
        let mut log = self.run().task(task, why, &argv);
        let taken = match &task.kind {
            Kind::Fetch { urls, digest } => self.fetch(task, urls, digest, &mut log),
            Kind::Render { template, context } => self.render(task, template, context, &plan),
            _ if task.in_place() => self.run_in_place(task, &argv, &plan, &mut log),
            _ => self.run_pure(task, &argv, &plan, &mut log),
        };
        let taken = self.or_failed(task, &mut log, taken)?;
        let made = self.made(&mut log, taken);
        if task.store {
            self.texts().keep(&self.root, &plan.manifest.inputs, why);
        }
        let trees = entries(&made.outputs);
        let mut state = self.state_of(task, plan, made.outputs);
        state.run = Some(self.run().id().to_owned());
        if self.keeps(task) {
            let record = Record {
                key,
                task: task.name.clone(),
                outputs: trees,
                made: crate::runlog::time::seconds(),
                took: made.took,
                log: made.log,
            };
            self.store.put(&record, &made.small)?;
        }
        self.state().record(&state)
    }
}
