//! The whole graph in one process: first everything by `stat`, then what is left in order, in parallel.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::quick::Tools;
use super::runner::Failed;
use super::{Engine, Outcome};
use crate::config::Kind;
use crate::exec::{prelude, signals};
use crate::fs::Digest;

/// So many tasks are looked at in one go; for fewer a second thread costs more than it saves.
const BLOCK: usize = 48;
/// How often a worker without a token asks for one.
const TOKEN_WAIT: Duration = Duration::from_millis(10);

/// A task whose inputs are the recorded ones.
struct Found<'a> {
    result: Digest,
    /// Results of its needs (by id) that it rests on.
    needs: Vec<(&'a str, Digest)>,
    /// Whether its outputs are the recorded ones too.
    whole: bool,
}

/// How many tasks may run at a time, and who grants all but the first.
struct Jobs {
    count: usize,
    tokens: Option<jobserver::Client>,
}

/// What `stat` alone says of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is up to date, with all that it needs.
    Clean,
    /// Its inputs and outputs are the recorded ones.
    Whole,
    /// Its inputs are.
    Inputs,
    /// Not even those.
    No,
}

/// Cores that this process may use. Asking reads several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What became of a walk.
#[derive(Debug, Default)]
pub struct Summary {
    /// Tasks for which nothing was to be done.
    pub fresh: usize,
    /// Tasks whose outputs came from the store.
    pub restored: usize,
    /// Tasks that ran.
    pub ran: usize,
    /// Tasks that would run.
    pub would: usize,
    /// What went wrong.
    pub errors: Vec<anyhow::Error>,
}

impl Engine {
    /// Brings `wanted` and all that they need up to date.
    pub fn walk(&self, wanted: &[usize]) -> Result<Summary> {
        let order = self.closure(wanted);
        let mut summary = Summary::default();
        if self.options.dry || self.options.question {
            let mut seen = std::collections::HashMap::new();
            for index in &order {
                if self.fresh(*index, &mut seen)? {
                    summary.fresh += 1;
                } else {
                    summary.would += 1;
                    if self.options.dry {
                        self.leaf(*index)?;
                    }
                }
            }
            return Ok(summary);
        }
        let mut seen = if self.options.force {
            vec![Seen::No; self.graph.tasks.len()]
        } else {
            self.look(&order)
        };
        let dirty = order.iter().filter(|i| seen[**i] != Seen::Clean).count();
        let jobs = self.jobs(dirty);
        summary.restored = self.bring_back(&order, &mut seen, jobs.count);
        let clean = |index: &usize| seen[*index] == Seen::Clean;
        let rest: Vec<usize> = order.iter().copied().filter(|i| !clean(i)).collect();
        summary.fresh = order.len() - rest.len() - summary.restored;
        if self.say.verbose {
            for index in order.iter().filter(|i| clean(i)) {
                self.say.fresh(&self.task(*index).name);
            }
        }
        if !rest.is_empty() {
            self.work(&rest, &seen, &jobs, &mut summary);
        }
        Ok(summary)
    }

    /// All tasks that `wanted` need, in an order in which they can run.
    pub fn closure(&self, wanted: &[usize]) -> Vec<usize> {
        let mut seen = vec![false; self.graph.tasks.len()];
        let mut order = Vec::new();
        let mut stack: Vec<(usize, usize)> = wanted.iter().rev().map(|i| (*i, 0)).collect();
        while let Some((node, next)) = stack.pop() {
            if next == 0 && seen[node] {
                continue;
            }
            seen[node] = true;
            let task = self.task(node);
            match task.needs.iter().chain(&task.after).nth(next) {
                Some(to) => {
                    stack.push((node, next + 1));
                    if !seen[*to] {
                        stack.push((*to, 0));
                    }
                }
                None => order.push(node),
            }
        }
        order
    }

    /// What `stat` alone says of the tasks.
    fn look(&self, order: &[usize]) -> Vec<Seen> {
        let count = self.graph.tasks.len();
        let state = self.state();
        let check = |index: &usize, tools: &Tools<'_>| -> Option<Found> {
            let task = self.task(*index);
            let prev = state.glance(&task.id)?;
            let good =
                !matches!(task.kind, Kind::Service(_)) && self.quick_inputs(task, &prev, tools);
            let whole = good && self.quick_outputs(task, &prev);
            good.then_some(Found {
                result: prev.result,
                needs: prev.needs,
                whole,
            })
        };
        let blocks: Vec<&[usize]> = order.chunks(BLOCK).collect();
        let next = AtomicUsize::new(0);
        // blocks and not halves: a core that does other work takes fewer
        let work = || {
            let tools = Tools::new(&self.finder);
            let mut done = Vec::new();
            while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.extend(block.iter().map(|index| (*index, check(index, &tools))));
            }
            done
        };
        let others = match blocks.len() {
            0 | 1 => 0,
            many => cores().min(many) - 1,
        };
        let mut results: Vec<Option<Found>> = (0..count).map(|_| None).collect();
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let own = work();
            // a thread that panicked has given nothing: its tasks are looked at again
            let theirs = handles
                .into_iter()
                .flat_map(|h| h.join().unwrap_or_default());
            for (index, found) in own.into_iter().chain(theirs) {
                results[index] = found;
            }
        });
        let mut seen = vec![Seen::No; count];
        for index in order {
            let Some(found) = &results[*index] else {
                continue;
            };
            let task = self.task(*index);
            let clean = found.whole
                && task.feeds.iter().all(|maker| seen[*maker] == Seen::Clean)
                && task.needs.len() == found.needs.len()
                && task
                    .needs
                    .iter()
                    .zip(&found.needs)
                    .all(|(need, (id, result))| {
                        seen[*need] == Seen::Clean
                            && self.task(*need).id == *id
                            && results[*need].as_ref().is_some_and(|r| r.result == *result)
                    });
            seen[*index] = match (clean, found.whole) {
                (true, _) => Seen::Clean,
                (_, true) => Seen::Whole,
                _ => Seen::Inputs,
            };
        }
        seen
    }

    /// How many of `dirty` tasks may run at a time.
    fn jobs(&self, dirty: usize) -> Jobs {
        if dirty < 2 {
            let (count, tokens) = (1, None);
            return Jobs { count, tokens };
        }
        let under_make = std::env::var_os("MAKELEVEL").is_some();
        // jobs that the user asked for are the user's affair; else Make says how many
        if let Some(count) = self.options.jobs {
            let tokens = None;
            return Jobs { count, tokens };
        }
        let tokens = under_make.then(prelude::jobserver).flatten();
        let cores = cores();
        let count = match &tokens {
            None if under_make => 1,
            Some(_) => cores,
            // a task waits now and then, and so does hermake between two: as ninja does
            None => cores + cores.min(2),
        };
        Jobs { count, tokens }
    }

    fn work(&self, rest: &[usize], seen: &[Seen], jobs: &Jobs, summary: &mut Summary) {
        let count = jobs.count.clamp(1, rest.len());
        let queue = Mutex::new(Queue::new(self, rest));
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            // the first works in the slot that Make has granted us; each other one takes a token per task
            let (queue, changed, tokens) = (&queue, &changed, jobs.tokens.as_ref());
            let look = |index: usize| seen[index];
            for _ in 1..count {
                scope.spawn(move || self.worker(queue, changed, tokens, &look));
            }
            self.worker(queue, changed, None, &look);
        });
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.fresh += queue.fresh;
        summary.restored += queue.restored;
        summary.ran += queue.ran;
        summary.errors = queue.errors;
    }

    fn update(&self, index: usize, seen: Seen) -> Result<Outcome> {
        if seen == Seen::Whole && self.quick(index) {
            return Ok(Outcome::Fresh);
        }
        self.bring(index)
    }

    fn worker(
        &self,
        queue: &Mutex<Queue>,
        changed: &Condvar,
        tokens: Option<&jobserver::Client>,
        look: &dyn Fn(usize) -> Seen,
    ) {
        loop {
            let (index, token) = {
                let mut held = queue.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    if held.over(self.options.keep_going) {
                        changed.notify_all();
                        return;
                    }
                    let token = match tokens {
                        Some(client) if !held.ready.is_empty() => {
                            client.try_acquire().ok().flatten()
                        }
                        _ => None,
                    };
                    if (tokens.is_none() || token.is_some())
                        && let Some(index) = held.ready.pop_front()
                    {
                        held.running += 1;
                        break (index, token);
                    }
                    drop(token);
                    let waited = changed.wait_timeout(held, TOKEN_WAIT);
                    held = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            };
            let done = self.update(index, look(index));
            drop(token);
            let mut held = queue.lock().unwrap_or_else(PoisonError::into_inner);
            held.running -= 1;
            held.finish(index, done);
            changed.notify_all();
        }
    }
}

/// Tasks that wait, those that can run, and what became of the others.
struct Queue {
    ready: VecDeque<usize>,
    waits: Vec<usize>,
    followers: Vec<Vec<usize>>,
    running: usize,
    left: usize,
    fresh: usize,
    restored: usize,
    ran: usize,
    errors: Vec<anyhow::Error>,
}

impl Queue {
    fn new(engine: &Engine, rest: &[usize]) -> Self {
        let count = engine.graph.tasks.len();
        let mut member = vec![false; count];
        for index in rest {
            member[*index] = true;
        }
        let (mut waits, mut followers) = (vec![0; count], vec![Vec::new(); count]);
        for index in rest {
            let task = engine.task(*index);
            for need in task.needs.iter().chain(&task.after).filter(|n| member[**n]) {
                waits[*index] += 1;
                followers[*need].push(*index);
            }
        }
        Self {
            ready: rest.iter().copied().filter(|i| waits[*i] == 0).collect(),
            waits,
            followers,
            running: 0,
            left: rest.len(),
            fresh: 0,
            restored: 0,
            ran: 0,
            errors: Vec::new(),
        }
    }

    /// True if nothing more is to be started.
    fn over(&self, keep_going: bool) -> bool {
        self.left == 0
            || signals::interrupted()
            || !self.errors.is_empty() && !keep_going
            || self.ready.is_empty() && self.running == 0
    }

    fn finish(&mut self, index: usize, done: Result<Outcome>) {
        self.left -= 1;
        match done {
            Err(e) => {
                self.errors.push(e);
                return;
            }
            Ok(Outcome::Restored) => self.restored += 1,
            Ok(Outcome::Ran) => self.ran += 1,
            Ok(Outcome::Fresh | Outcome::Would) => self.fresh += 1,
        }
        for follower in std::mem::take(&mut self.followers[index]) {
            self.waits[follower] -= 1;
            if self.waits[follower] == 0 {
                self.ready.push_back(follower);
            }
        }
    }
}

/// True if the error came from being asked to stop.
pub fn was_interrupted(error: &anyhow::Error) -> bool {
    signals::interrupted()
        || error
            .downcast_ref::<Failed>()
            .is_some_and(|f| f.interrupted)
}
