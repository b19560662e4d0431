//! Reading the whole store to find what is damaged.

use std::collections::HashSet;

use super::gc::entries;
use super::pack::Kind;
use super::{Digest, PACKED, Store};
use crate::fs::tree::Node;

/// What was found.
#[derive(Debug, Default, serde::Serialize, schemars::JsonSchema)]
pub struct Report {
    /// Blobs that were read.
    pub blobs: usize,
    /// Records that were read.
    pub records: usize,
    /// One line per problem.
    pub problems: Vec<String>,
}

impl Store {
    /// Reads everything. With `remove`, damaged blobs, unreadable records and those without their content are removed.
    pub fn verify(&self, remove: bool) -> Report {
        let mut report = Report::default();
        for (path, name) in entries(&self.root.join("blobs")) {
            report.blobs += 1;
            let good = name.is_some_and(|name| Digest::of_file(&path).is_ok_and(|is| is == name));
            if !good {
                report.problems.push(format!(
                    "content is not what its name says: {}",
                    path.display()
                ));
                if remove {
                    // a problem that stays is found again
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        let faults = self.pack.faults();
        if remove && !faults.is_empty() {
            // a problem that stays is found again
            let _ = self.pack.renew();
        }
        report.problems.extend(faults);
        let mut bad = HashSet::new();
        let pieces = self.pack.list();
        for ((_, digest), _) in pieces.iter().filter(|(name, _)| name.0 == Kind::Blob) {
            report.blobs += 1;
            let name = (Kind::Blob, *digest);
            let is = self.pack.get(name).map(|bytes| Digest::of(&bytes));
            if is != Some(*digest) {
                let what = format!("small content is not what its name says: {}", digest.hex());
                report.problems.push(what);
                bad.insert(name);
            }
        }
        for ((_, key), _) in pieces.iter().filter(|(name, _)| name.0 == Kind::Record) {
            report.records += 1;
            let Some(record) = self.record(key) else {
                report
                    .problems
                    .push(format!("record is not readable: {}", key.hex()));
                bad.insert((Kind::Record, *key));
                continue;
            };
            for entry in record.outputs.iter().flatten() {
                let Node::File(digest) = &entry.node else {
                    continue;
                };
                let held = self.holds(digest, entry.size);
                if !held {
                    let what = format!("content {} of `{}` is gone", digest.short(), record.task);
                    report.problems.push(what);
                }
                // without its content a record is of no use
                if !held || bad.contains(&(Kind::Blob, *digest)) {
                    bad.insert((Kind::Record, *key));
                }
            }
        }
        let damaged = self.pack.damaged();
        if damaged > 0 {
            let what = format!("{damaged} lines of the store's index are not readable");
            report.problems.push(what);
        }
        if remove && (damaged > 0 || !bad.is_empty()) {
            // a problem that stays is found again
            let _ = self.pack.rewrite(|name| bad.contains(name));
        }
        report
    }

    fn holds(&self, digest: &Digest, size: u64) -> bool {
        if size < PACKED {
            self.pack.has((Kind::Blob, *digest))
        } else {
            self.blob(digest).is_file()
        }
    }
}
