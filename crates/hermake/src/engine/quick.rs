//! Is a task up to date, by `stat` alone? No file is read and no key is made.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Engine;
use crate::config::Task;
use crate::exec::tools::{Finder, members};
use crate::fs::{Digest, Fingerprint};
use crate::manifest::Manifest;
use crate::state::Glance;

fn same(path: &Path, fp: &Fingerprint) -> bool {
    !fp.is_unknown() && fs::metadata(path).is_ok_and(|m| Fingerprint::of(&m) == *fp)
}

fn same_link(path: &Path, fp: &Fingerprint) -> bool {
    !fp.is_unknown() && fs::symlink_metadata(path).is_ok_and(|m| Fingerprint::of(&m) == *fp)
}

/// Where programs are and what `stat` says of them, asked once each for as long as this lives.
#[derive(Debug)]
pub struct Tools<'e> {
    finder: &'e Finder,
    seen: RefCell<HashMap<String, Option<(PathBuf, Fingerprint)>>>,
}

impl<'e> Tools<'e> {
    /// Has asked for none.
    pub fn new(finder: &'e Finder) -> Self {
        Self {
            finder,
            seen: RefCell::default(),
        }
    }

    fn with<R>(&self, name: &str, use_it: impl Fn(Option<&(PathBuf, Fingerprint)>) -> R) -> R {
        if let Some(known) = self.seen.borrow().get(name) {
            return use_it(known.as_ref());
        }
        let found = self.finder.find(name).map(|path| {
            let fp = fs::metadata(&path).map(|m| Fingerprint::of(&m));
            (path, fp.unwrap_or_default())
        });
        let result = use_it(found.as_ref());
        self.seen.borrow_mut().insert(name.to_owned(), found);
        result
    }
}

impl Engine {
    /// True if everything that `prev` rests on, needed tasks aside, is as it was.
    pub fn quick_self(&self, task: &Task, prev: &Glance<'_>, tools: &Tools<'_>) -> bool {
        self.quick_inputs(task, prev, tools) && self.quick_outputs(task, prev)
    }

    /// The same without the outputs.
    pub fn quick_inputs(&self, task: &Task, prev: &Glance<'_>, tools: &Tools<'_>) -> bool {
        prev.def == task.def
            && prev.manifest.platform == Manifest::platform()
            && prev
                .dirs
                .iter()
                .all(|(path, fp)| same(&self.at(path.path()), fp))
            && prev
                .manifest
                .inputs
                .iter()
                .zip(&prev.input_fps)
                .all(|((path, ..), fp)| same(&self.at(path.path()), fp))
            && quick_tools(task, prev, tools)
    }

    /// True if the outputs are the recorded ones, by `stat`.
    pub fn quick_outputs(&self, task: &Task, prev: &Glance<'_>) -> bool {
        prev.boot == self.boot
            && prev.outputs.len() == task.outputs.len()
            && task
                .outputs
                .iter()
                .zip(&prev.outputs)
                .all(|(output, tree)| {
                    let root = self.at(Path::new(&output.path));
                    tree.iter().all(|placed| {
                        let path = placed.path();
                        if path.as_os_str().is_empty() {
                            same_link(&root, &placed.fp)
                        } else {
                            same_link(&root.join(path), &placed.fp)
                        }
                    })
                })
    }

    /// True if the results of the needed tasks are those that `prev` rests on.
    pub fn quick_needs(
        &self,
        task: &Task,
        prev: &Glance<'_>,
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

fn quick_tools(task: &Task, prev: &Glance<'_>, tools: &Tools<'_>) -> bool {
    let mut files = prev.tools.iter();
    for tool in &task.tools {
        let (group, many) = members(tool);
        let own = [tool.as_str()];
        let names = if many { group } else { &own[..] };
        for name in names {
            let good = tools.with(name, |found| {
                let Some((path, fp)) = found else {
                    return many.then_some(false);
                };
                (!fp.is_unknown()).then_some(true).filter(|_| {
                    let mut ahead = files.clone();
                    ahead
                        .next()
                        .is_some_and(|file| file.path.path() == path && file.fp == *fp)
                })
            });
            match good {
                None => return false,
                // one of a group that isn't installed
                Some(false) => {}
                Some(true) => {
                    files.next();
                }
            }
        }
    }
    files.next().is_none()
}
