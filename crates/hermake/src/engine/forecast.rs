//! What a run would do with a task that is not up to date, looked up without writing anything.

use std::fs;

use super::Engine;
use super::plan::Plan;
use super::why::Why;
use crate::config::{Kind, Task, written};
use crate::fs::Digest;
use crate::fs::tree::{Entry, Node};
use crate::state::TaskState;
use crate::store::place::{Damaged, LARGE};

/// What would happen, and why.
#[derive(Debug)]
pub struct Forecast {
    /// Why it is not up to date.
    pub why: Why,
    /// Its result is in the store: nothing would run.
    pub restored: bool,
}

impl Forecast {
    /// One line.
    pub fn line(&self) -> String {
        let what = if self.restored {
            "would be restored"
        } else {
            "would run"
        };
        format!("{what}: {}", self.why.line())
    }
}

impl Engine {
    /// Why the task that is now as in `plan` has another key than before.
    pub(super) fn changed(&self, task: &Task, plan: &Plan, last: Option<&TaskState>) -> Why {
        Why::of(&plan.manifest, last.map(|l| &l.manifest), &|change| {
            let key = change.key()?;
            Some(written::key_line(&self.root, &task.at, key))
        })
    }

    /// What a run would do with `task`, which is not up to date because of `why`.
    pub fn forecast(&self, task: &Task, why: Why) -> Forecast {
        let runs = |why| Forecast {
            why,
            restored: false,
        };
        if why == Why::Forced || !task.store || matches!(task.kind, Kind::Service(_)) {
            return runs(why);
        }
        let record = self.plan(task).ok().and_then(|p| self.store.record(&p.key));
        match record {
            None => runs(why),
            Some(record) => match self.damaged(record.outputs.iter().flatten()) {
                Some(damaged) => runs(Why::Blob {
                    message: damaged.to_string(),
                }),
                None => Forecast {
                    why,
                    restored: true,
                },
            },
        }
    }

    /// The first content of a result that is not in the store as it should be.
    fn damaged<'a>(&self, mut entries: impl Iterator<Item = &'a Entry>) -> Option<Damaged> {
        entries.find_map(|entry| {
            let Node::File(digest) = &entry.node else {
                return None;
            };
            let blob = self.store.blob(digest);
            let how = match fs::metadata(&blob) {
                Err(_) => "is gone",
                Ok(meta) if meta.len() != entry.size => "is damaged",
                Ok(_)
                    if entry.size < LARGE
                        && !Digest::of_file(&blob).is_ok_and(|d| d == *digest) =>
                {
                    "is damaged"
                }
                Ok(_) => return None,
            };
            Some(Damaged {
                digest: *digest,
                how,
            })
        })
    }
}
