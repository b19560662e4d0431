//! Outputs on disk: are they the recorded ones, and placing those that aren't.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};

use super::Engine;
use crate::config::Task;
use crate::fs::tree::{self, Entry, Stamped};
use crate::fs::{Digest, Fingerprint, RelPath};
use crate::store::{AT_ONCE, PACKED, Small};

/// How the outputs on disk differ from the recorded ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// This one is not there.
    Gone(String),
    /// This one is there and different.
    Changed(String),
}

impl Engine {
    /// Reads the outputs of `task`. With `afresh`, nothing remembered of their content is believed.
    pub fn scan_outputs(&self, task: &Task, afresh: bool) -> Result<Vec<Vec<Stamped>>> {
        task.outputs
            .iter()
            .map(|o| self.scan(&self.root.join(&o.path), afresh))
            .collect()
    }

    /// Reads the tree at `path`.
    pub fn scan(&self, path: &Path, afresh: bool) -> Result<Vec<Stamped>> {
        tree::scan(path, &mut |file: &Path, fp: &Fingerprint| {
            if afresh {
                let read_at = crate::fs::now_ns();
                return Ok((Digest::of_file(file)?, fp.settled(read_at)));
            }
            let path = file.strip_prefix(&self.root).unwrap_or(file);
            self.digest(&RelPath::new(path), *fp)
        })
    }

    /// Reads the tree at `path`, which a task has just made. With `keep`, the content of its small files goes to
    /// `small`, so that it need not be read again for the store.
    pub fn scan_made(&self, path: &Path, keep: bool, small: &mut Small) -> Result<Vec<Stamped>> {
        let mut held: usize = small.iter().map(|s| s.1.len()).sum();
        tree::scan(path, &mut |file: &Path, fp: &Fingerprint| {
            let read_at = crate::fs::now_ns();
            if !keep || fp.size() >= PACKED {
                return Ok((Digest::of_file(file)?, fp.settled(read_at)));
            }
            let bytes = crate::fs::digest::read(file, fp.size())?;
            anyhow::ensure!(
                bytes.len() as u64 == fp.size(),
                "{} changed while it was read",
                file.display()
            );
            let digest = Digest::of(&bytes);
            held += bytes.len();
            small.push((digest, bytes));
            if held > AT_ONCE {
                self.store.keep_small(small)?;
                small.clear();
                held = 0;
            }
            Ok((digest, fp.settled(read_at)))
        })
    }

    /// Compares the outputs with the recorded trees; gives their new stamps, or the first difference.
    pub fn compare(
        &self,
        task: &Task,
        trees: &[Vec<Entry>],
        afresh: bool,
    ) -> Result<Vec<Vec<Stamped>>, Difference> {
        let mut out = Vec::new();
        for (output, entries) in task.outputs.iter().zip(trees) {
            let path = self.at(Path::new(&output.path));
            if fs::symlink_metadata(&path).is_err() {
                return Err(Difference::Gone(output.path.clone()));
            }
            let Ok(now) = self.scan(&path, afresh) else {
                return Err(Difference::Changed(output.path.clone()));
            };
            if let Some(different) = first_difference(&output.path, entries, &now) {
                return Err(different);
            }
            out.push(now);
        }
        Ok(out)
    }

    /// Puts recorded outputs in place, those that aren't there as they should be.
    pub fn restore(&self, task: &Task, trees: &[Vec<Entry>]) -> Result<Vec<Vec<Stamped>>> {
        let mut out = Vec::new();
        for (output, entries) in task.outputs.iter().zip(trees) {
            let path = self.at(Path::new(&output.path));
            self.inside(&path)?;
            let read_at = crate::fs::now_ns();
            let already = fs::symlink_metadata(&path).is_ok()
                && self
                    .scan(&path, false)
                    .is_ok_and(|now| first_difference("", entries, &now).is_none());
            if !already {
                self.store.place(entries, &path, &self.tmp(), task.link)?;
            }
            out.push(self.stamp(&path, entries.clone(), read_at)?);
        }
        Ok(out)
    }

    /// The fingerprints of a tree that has been there, or was about to be placed, at the time `read_at`: whoever
    /// wrote to it since is not believed.
    pub fn stamp(&self, root: &Path, entries: Vec<Entry>, read_at: i128) -> Result<Vec<Stamped>> {
        entries
            .into_iter()
            .map(|entry| {
                let path = entry.path.below(root);
                let meta = fs::symlink_metadata(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                let fp = Fingerprint::of(&meta).settled(read_at);
                Ok(Stamped { entry, fp })
            })
            .collect()
    }

    /// Refuses to write through symlinks that lead out of the project.
    pub fn inside(&self, path: &Path) -> Result<()> {
        if path.parent().is_some_and(|p| self.known_inside(p)) {
            return Ok(());
        }
        let Some(above) = path.ancestors().skip(1).find(|p| p.exists()) else {
            return Ok(());
        };
        if let Some(real) = self.folder_outside(above)? {
            bail!(
                "the output {} would be written to {}, outside of the project: remove the symlink",
                path.display(),
                real.display()
            );
        }
        Ok(())
    }

    /// Where the existing path `full`, of which `meta` tells without following it, really is, if that is outside
    /// of the project.
    pub fn leads_out(&self, full: &Path, meta: &fs::Metadata) -> Result<Option<PathBuf>> {
        if let Some(real) = self.folder_outside(full.parent().unwrap_or(full))? {
            return Ok(Some(real.join(full.file_name().unwrap_or_default())));
        }
        if !meta.is_symlink() {
            return Ok(None);
        }
        let there = real(full)?;
        Ok((!there.starts_with(self.real_root()?)).then_some(there))
    }

    fn known_inside(&self, dir: &Path) -> bool {
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(dir)
    }

    /// Where the folder `dir` really is, if that is outside of the project. Those inside are remembered.
    fn folder_outside(&self, dir: &Path) -> Result<Option<PathBuf>> {
        if self.known_inside(dir) {
            return Ok(None);
        }
        let there = real(if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        })?;
        if !there.starts_with(self.real_root()?) {
            return Ok(Some(there));
        }
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(dir.to_path_buf());
        Ok(None)
    }

    fn real_root(&self) -> Result<&Path> {
        if let Some(known) = self.real_root.get() {
            return Ok(known);
        }
        let there = real(&self.root)?;
        Ok(self.real_root.get_or_init(|| there))
    }
}

fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("reading {}", path.display()))
}

fn first_difference(root: &str, entries: &[Entry], now: &[Stamped]) -> Option<Difference> {
    let name = |rel: &RelPath| {
        if rel.is_empty() {
            root.to_owned()
        } else {
            format!("{root}/{rel}")
        }
    };
    let mut now = now.iter().map(|s| &s.entry);
    for entry in entries {
        match now.next() {
            Some(is) if is == entry => {}
            Some(is) if is.path > entry.path => return Some(Difference::Gone(name(&entry.path))),
            Some(is) => return Some(Difference::Changed(name(&is.path))),
            None => return Some(Difference::Gone(name(&entry.path))),
        }
    }
    now.next()
        .map(|extra| Difference::Changed(name(&extra.path)))
}
