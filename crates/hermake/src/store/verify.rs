//! Reading the whole store to find what is damaged.

use super::gc::entries;
use super::{Digest, Store};
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
    /// Reads everything. With `remove`, damaged blobs and unreadable records are removed.
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
        for (path, key) in entries(&self.root.join("records")) {
            report.records += 1;
            let Some(record) = key.and_then(|k| self.record(&k)) else {
                report
                    .problems
                    .push(format!("record is not readable: {}", path.display()));
                if remove {
                    let _ = std::fs::remove_file(&path);
                }
                continue;
            };
            for entry in record.outputs.iter().flatten() {
                if let Node::File(digest) = &entry.node
                    && !self.blob(digest).is_file()
                {
                    let what = format!("content {} of `{}` is gone", digest.short(), record.task);
                    report.problems.push(what);
                }
            }
        }
        report
    }
}
