//! Keeping the store within its limits: the least recently used results go first.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::pack::{Kind, Name};
use super::{OLDER, Store};
use crate::fs::tree::Node;
use crate::fs::{Digest, atomic, lock};

/// Blobs younger than this stay even if no record names them: one may be on its way.
const GRACE: u64 = 3600;
/// So much of the pack may be out of date in any case.
const WASTE: u64 = 16 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What goes, and why.
#[derive(Debug, Default)]
pub struct Plan {
    /// Records: key, task, reason.
    pub records: Vec<(Digest, String, &'static str)>,
    /// Contents: which (a file of its own, or one in the pack), and its size.
    pub blobs: Vec<(Goes, u64)>,
    /// Bytes in all contents now.
    pub size: u64,
}

/// Content that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goes {
    /// A file.
    File(PathBuf),
    /// A piece of the pack.
    Piece(Digest),
}

impl Plan {
    /// Bytes that would be freed.
    pub fn freed(&self) -> u64 {
        self.blobs.iter().map(|b| b.1).sum()
    }
}

/// Files two levels down, with the digest that is their name.
pub(super) fn entries(dir: &Path) -> Vec<(PathBuf, Option<Digest>)> {
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let mut out = Vec::new();
    for shard in list(dir) {
        for item in list(&shard.path()) {
            let name = format!(
                "{}{}",
                shard.file_name().to_string_lossy(),
                item.file_name().to_string_lossy()
            );
            out.push((item.path(), Digest::parse(&name)));
        }
    }
    out.sort();
    out
}

impl Store {
    /// What has to go for the store to be within `size` bytes and no result unused for `age` seconds.
    pub fn plan_gc(&self, size: u64, age: u64) -> Plan {
        let now = crate::runlog::time::seconds();
        let mut plan = Plan::default();
        // size, and for how many seconds it is there
        let mut contents: HashMap<Digest, (Goes, u64, u64)> = HashMap::new();
        for (path, digest) in entries(&self.root.join("blobs")) {
            let meta = fs::metadata(&path).ok();
            let bytes = meta.as_ref().map_or(0, fs::Metadata::len);
            let written = meta.and_then(|m| m.modified().ok());
            let since = written.and_then(|t| SystemTime::now().duration_since(t).ok());
            plan.size += bytes;
            match digest {
                Some(digest) => {
                    let since = since.unwrap_or_default().as_secs();
                    contents.insert(digest, (Goes::File(path), bytes, since));
                }
                None => plan.blobs.push((Goes::File(path), bytes)),
            }
        }
        let mut kept = Vec::new();
        for ((kind, id), place) in self.pack.list() {
            let since = now.saturating_sub(place.used);
            if kind == Kind::Blob {
                let bytes = u64::from(place.len);
                plan.size += bytes;
                contents.insert(id, (Goes::Piece(id), bytes, since));
                continue;
            }
            match self.record(&id) {
                None => plan.records.push((id, "?".into(), "is not readable")),
                Some(record) if since > age => {
                    plan.records
                        .push((id, record.task, "was not used for too long"));
                }
                Some(record) => kept.push((place.used, place, id, record)),
            }
        }
        // of those used in one second, the ones written last stay
        kept.sort_by_key(|(used, place, ..)| std::cmp::Reverse((*used, place.at)));
        let mut used: HashSet<Digest> = HashSet::new();
        let mut total = 0;
        for (_, _, key, record) in kept {
            let new: HashSet<Digest> = record
                .outputs
                .iter()
                .flatten()
                .filter_map(|e| {
                    if let Node::File(d) = e.node {
                        Some(d)
                    } else {
                        None
                    }
                })
                .filter(|d| !used.contains(d))
                .collect();
            let bytes: u64 = new
                .iter()
                .filter_map(|d| contents.get(d))
                .map(|c| c.1)
                .sum();
            if total + bytes > size {
                plan.records
                    .push((key, record.task, "is over the size limit, used longest ago"));
            } else {
                total += bytes;
                used.extend(new);
            }
        }
        for (digest, (goes, bytes, since)) in contents {
            if !used.contains(&digest) && (since > GRACE || plan.size > size) {
                plan.blobs.push((goes, bytes));
            }
        }
        plan
    }

    /// Keeps the store within its limits, at most once a day.
    pub fn gc_if_due(&self, size: u64, age: u64) -> Result<()> {
        let stamp = self.root.join("last-gc");
        let last = fs::metadata(&stamp).and_then(|m| m.modified()).ok();
        let since = last.and_then(|t| t.elapsed().ok());
        if since.is_some_and(|d| d < DAY) {
            return Ok(());
        }
        atomic::write(&stamp, b"")?;
        // the first time there is nothing to collect yet
        if last.is_none() {
            return Ok(());
        }
        self.gc(&self.plan_gc(size, age))
    }

    /// Removes what `plan` names, unless another process collects now.
    pub fn gc(&self, plan: &Plan) -> Result<()> {
        let Some(_lock) = lock::try_exclusive(&self.root.join("gc.lock"))? else {
            return Ok(());
        };
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        };
        let mut pieces: HashSet<Name> = HashSet::new();
        pieces.extend(plan.records.iter().map(|r| (Kind::Record, r.0)));
        for (goes, _) in &plan.blobs {
            match goes {
                Goes::File(path) => remove(path)?,
                Goes::Piece(digest) => {
                    pieces.insert((Kind::Blob, *digest));
                }
            }
        }
        let (all, live) = self.pack.sizes();
        if !pieces.is_empty() || all > 2 * live + WASTE {
            self.pack.rewrite(|name| pieces.contains(name))?;
        }
        for older in OLDER {
            atomic::remove(&self.root.with_file_name(older))?;
        }
        for dir in ["tmp", "seen"] {
            for item in fs::read_dir(self.root.join(dir))
                .into_iter()
                .flatten()
                .flatten()
            {
                let old = item.metadata().and_then(|m| m.modified()).ok();
                if old.and_then(|t| t.elapsed().ok()).is_some_and(|d| d > DAY) {
                    remove(&item.path())?;
                }
            }
        }
        Ok(())
    }
}
