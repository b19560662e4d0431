//! Is a task up to date, by `stat` alone? No file is read and no key is made.

use std::fs;
use std::path::Path;

use super::Engine;
use crate::config::Task;
use crate::exec::tools::members;
use crate::fs::tree::Stamped;
use crate::fs::{Digest, Fingerprint};
use crate::manifest::Manifest;
use crate::state::TaskState;

fn same(path: &Path, fp: &Fingerprint) -> bool {
    !fp.is_unknown() && fs::metadata(path).is_ok_and(|m| Fingerprint::of(&m) == *fp)
}

fn same_link(path: &Path, fp: &Fingerprint) -> bool {
    !fp.is_unknown() && fs::symlink_metadata(path).is_ok_and(|m| Fingerprint::of(&m) == *fp)
}

impl Engine {
    /// True if everything that `prev` rests on, needed tasks aside, is as it was.
    pub fn quick_self(&self, task: &Task, prev: &TaskState) -> bool {
        prev.def == task.def
            && prev.manifest.platform == Manifest::platform()
            && prev
                .dirs
                .iter()
                .all(|d| same(&self.at(d.path.as_path()), &d.fp))
            && prev
                .manifest
                .inputs
                .iter()
                .zip(&prev.input_fps)
                .all(|((path, ..), fp)| same(&self.at(path.as_path()), fp))
            && self.quick_tools(task, prev)
            && self.quick_outputs(task, prev)
    }

    fn quick_tools(&self, task: &Task, prev: &TaskState) -> bool {
        let mut files = prev.tools.iter();
        for tool in &task.tools {
            let (group, many) = members(tool);
            let own = [tool.as_str()];
            let names = if many { group } else { &own[..] };
            for name in names {
                let Some(path) = self.finder.find(name) else {
                    if many {
                        continue;
                    }
                    return false;
                };
                let Some(file) = files.next() else {
                    return false;
                };
                if file.path.as_path() != path || !same(&path, &file.fp) {
                    return false;
                }
            }
        }
        files.next().is_none()
    }

    /// True if the outputs are the recorded ones, by `stat`.
    pub fn quick_outputs(&self, task: &Task, prev: &TaskState) -> bool {
        prev.boot == self.boot
            && prev.outputs.len() == task.outputs.len()
            && task
                .outputs
                .iter()
                .zip(&prev.outputs)
                .all(|(output, tree)| {
                    let root = self.at(Path::new(&output.path));
                    tree.iter().all(|stamped| quick_entry(&root, stamped))
                })
    }

    /// True if the results of the needed tasks are those that `prev` rests on.
    pub fn quick_needs(
        &self,
        task: &Task,
        prev: &TaskState,
        result: &dyn Fn(usize) -> Option<Digest>,
    ) -> bool {
        prev.needs.len() == task.needs.len()
            && task
                .needs
                .iter()
                .zip(&prev.needs)
                .all(|(need, (id, digest))| {
                    self.task(*need).id == *id && result(*need) == Some(*digest)
                })
    }
}

fn quick_entry(root: &Path, stamped: &Stamped) -> bool {
    if stamped.entry.path.is_empty() {
        return same_link(root, &stamped.fp);
    }
    same_link(&root.join(stamped.entry.path.as_path()), &stamped.fp)
}
