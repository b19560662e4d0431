//! Keeping the store within its limits: the least recently used results go first.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::Store;
use crate::fs::tree::Node;
use crate::fs::{Digest, atomic, lock};

/// Blobs younger than this stay even if no record names them: one may be on its way.
const GRACE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What goes, and why.
#[derive(Debug, Default)]
pub struct Plan {
    /// Records: path, task, reason.
    pub records: Vec<(PathBuf, String, &'static str)>,
    /// Blobs: path, size.
    pub blobs: Vec<(PathBuf, u64)>,
    /// Bytes in all blobs now.
    pub size: u64,
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
        let now = SystemTime::now();
        let since = |path: &Path| -> Duration {
            fs::metadata(path)
                .and_then(|m| m.modified())
                .ok()
                .and_then(|t| now.duration_since(t).ok())
                .unwrap_or_default()
        };
        let mut plan = Plan::default();
        let mut sizes: HashMap<Digest, u64> = HashMap::new();
        for (path, digest) in entries(&self.root.join("blobs")) {
            let bytes = fs::metadata(&path).map_or(0, |m| m.len());
            plan.size += bytes;
            match digest {
                Some(digest) => {
                    sizes.insert(digest, bytes);
                }
                None => plan.blobs.push((path, bytes)),
            }
        }
        let mut kept = Vec::new();
        for (path, key) in entries(&self.root.join("records")) {
            match key.and_then(|k| self.record(&k)) {
                None => plan.records.push((path, "?".into(), "is not readable")),
                Some(record) if since(&path) > Duration::from_secs(age) => {
                    plan.records
                        .push((path, record.task, "was not used for too long"));
                }
                Some(record) => kept.push((since(&path), path, record)),
            }
        }
        kept.sort_by_key(|k| k.0);
        let mut used: HashSet<Digest> = HashSet::new();
        let mut total = 0;
        for (_, path, record) in kept {
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
            let bytes: u64 = new.iter().filter_map(|d| sizes.get(d)).sum();
            if total + bytes > size {
                plan.records.push((
                    path,
                    record.task,
                    "is over the size limit, used longest ago",
                ));
            } else {
                total += bytes;
                used.extend(new);
            }
        }
        for (digest, bytes) in sizes {
            let path = self.blob(&digest);
            if !used.contains(&digest) && (since(&path) > GRACE || plan.size > size) {
                plan.blobs.push((path, bytes));
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
        for (path, ..) in &plan.records {
            remove(path)?;
        }
        for (path, _) in &plan.blobs {
            remove(path)?;
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
