//! Taking outputs back from the store, many tasks at a time: no plan is made for any of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::Engine;
use super::plan::result_of;
use super::walk::Seen;
use crate::state::TaskState;

/// So many tasks become one addition to the state. While they are on their way no other hermake can have them.
const BLOCK: usize = 32;

impl Engine {
    /// Takes the outputs of those tasks from the store whose inputs were just found to be the recorded ones, and
    /// whose needs are up to date or come back as well. `seen` says so then; gives how many came back.
    ///
    /// Whatever stands in the way of one leaves it to be looked at on its own.
    pub(super) fn bring_back(&self, order: &[usize], seen: &mut [Seen], threads: usize) -> usize {
        let wanted = self.can_come_back(order, seen);
        if wanted.is_empty() || self.say.verbose {
            return 0;
        }
        let blocks: Vec<&[usize]> = wanted.chunks(BLOCK).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                // nothing is recorded of a block that fails: its outputs are compared later
                done.extend(self.block_back(block).unwrap_or_default());
            }
            done
        };
        let others = threads.min(blocks.len()).saturating_sub(1);
        let mut back = vec![false; seen.len()];
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let own = work();
            let theirs = handles
                .into_iter()
                .flat_map(|h| h.join().unwrap_or_default());
            for index in own.into_iter().chain(theirs) {
                back[index] = true;
            }
        });
        let mut count = 0;
        for index in wanted {
            let task = self.task(index);
            let before = task.needs.iter().chain(&task.feeds);
            if back[index] && before.into_iter().all(|need| seen[*need] == Seen::Clean) {
                seen[index] = Seen::Clean;
                count += 1;
            }
        }
        count
    }

    /// In their order.
    fn can_come_back(&self, order: &[usize], seen: &[Seen]) -> Vec<usize> {
        let mut good: Vec<bool> = seen.iter().map(|s| *s == Seen::Clean).collect();
        let mut wanted = Vec::new();
        for index in order {
            let task = self.task(*index);
            let can = seen[*index] == Seen::Inputs
                && task.store
                && task.feeds.is_empty()
                && task
                    .needs
                    .iter()
                    .chain(&task.after)
                    .all(|before| good[*before]);
            if can {
                good[*index] = true;
                wanted.push(*index);
            }
        }
        wanted
    }

    /// Those of the block that are back, with the same result as before.
    fn block_back(&self, block: &[usize]) -> Result<Vec<usize>> {
        let (mut locks, mut states, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for index in block {
            // waiting with others in hand could be for ever
            locks.extend(self.try_hold(self.task(*index))?.map(|held| (*index, held)));
        }
        self.state().refresh();
        for (index, _) in &locks {
            if let Some(state) = self.one_back(*index) {
                states.push(state);
                back.push(*index);
            }
        }
        self.state().record_all(&states)?;
        for state in &states {
            self.store.touch(&state.key);
        }
        Ok(back)
    }

    pub(super) fn one_back(&self, index: usize) -> Option<TaskState> {
        let task = self.task(index);
        let mut state = self.state().task(&task.id)?;
        let known = |need: usize| self.result(need);
        if state.def != task.def || !self.quick_needs(task, &state.glance(), &known) {
            return None;
        }
        let record = self.store.record(&state.key)?;
        // before they are replaced: what is told of it
        let why = self.compare(task, &record.outputs, true).err()?.into();
        let started = crate::runlog::time::now_us();
        let outputs = self.restore(task, &record.outputs).ok()?;
        // made anew meanwhile, and not the same: what needs it has to be looked at
        if result_of(&state.key, &outputs) != state.result {
            return None;
        }
        self.run().restored(task, &why, started, record.took);
        state.outputs = outputs;
        state.boot = self.boot;
        state.run = None;
        Some(state)
    }
}
