//! The whole graph in one process: first everything by `stat`, then what is left in order, in parallel.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
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

/// The result of a task that is up to date by itself, and those of its needs that it rests on (by id).
type Found<'a> = (Digest, Vec<(&'a str, Digest)>);

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
        let clean = if self.options.force {
            vec![false; self.graph.tasks.len()]
        } else {
            self.clean(&order)
        };
        let rest: Vec<usize> = order.iter().copied().filter(|i| !clean[*i]).collect();
        summary.fresh = order.len() - rest.len();
        if self.say.verbose {
            for index in order.iter().filter(|i| clean[**i]) {
                self.say.fresh(&self.task(*index).name);
            }
        }
        if !rest.is_empty() {
            self.work(&rest, &mut summary);
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

    /// Which tasks are up to date by `stat` alone, together with all that they need.
    fn clean(&self, order: &[usize]) -> Vec<bool> {
        let count = self.graph.tasks.len();
        let state = self.state();
        let check = |index: &usize, tools: &Tools<'_>| -> Option<Found> {
            let task = self.task(*index);
            let prev = state.glance(&task.id)?;
            let good =
                !matches!(task.kind, Kind::Service(_)) && self.quick_self(task, &prev, tools);
            good.then_some((prev.result, prev.needs))
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
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let others = threads.min(blocks.len()).saturating_sub(1);
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
        let mut clean = vec![false; count];
        let mut digests: Vec<Option<Digest>> = vec![None; count];
        for index in order {
            let Some((digest, needs)) = &results[*index] else {
                continue;
            };
            let task = self.task(*index);
            digests[*index] = Some(*digest);
            clean[*index] = task.feeds.iter().all(|maker| clean[*maker])
                && task.needs.len() == needs.len()
                && task.needs.iter().zip(needs).all(|(need, (id, result))| {
                    clean[*need] && self.task(*need).id == *id && digests[*need] == Some(*result)
                });
        }
        clean
    }

    fn work(&self, rest: &[usize], summary: &mut Summary) {
        let under_make = std::env::var_os("MAKELEVEL").is_some();
        // jobs that the user asked for are the user's affair; else Make says how many
        let tokens = if under_make && self.options.jobs.is_none() {
            prelude::jobserver()
        } else {
            None
        };
        let cores = match &tokens {
            None if under_make => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let jobs = self.options.jobs.unwrap_or(cores).clamp(1, rest.len());
        let queue = Mutex::new(Queue::new(self, rest));
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            // the first works in the slot that Make has granted us; each other one takes a token per task
            let (queue, changed, tokens) = (&queue, &changed, tokens.as_ref());
            for number in 0..jobs {
                scope.spawn(move || self.worker(queue, changed, tokens.filter(|_| number > 0)));
            }
        });
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.fresh += queue.fresh;
        summary.restored += queue.restored;
        summary.ran += queue.ran;
        summary.errors = queue.errors;
    }

    fn worker(&self, queue: &Mutex<Queue>, changed: &Condvar, tokens: Option<&jobserver::Client>) {
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
            let quick = !self.options.force && self.quick(index);
            let done = if quick {
                Ok(Outcome::Fresh)
            } else {
                self.bring(index)
            };
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
