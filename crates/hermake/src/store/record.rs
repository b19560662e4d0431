//! What a key's task made.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::fs::tree::Entry;
use crate::fs::{Digest, atomic};

/// Another format gets another mark; records with another mark are ignored.
pub const MARK: &[u8; 8] = b"hmkrec03";

/// A result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The key it belongs to.
    pub key: Digest,
    /// Name of the task that made it.
    pub task: String,
    /// One tree per declared output.
    pub outputs: Vec<Vec<Entry>>,
    /// When it was made, in seconds since the epoch.
    pub made: u64,
    /// How long that took, in milliseconds.
    pub took: u64,
    /// What the task printed, compressed as in the logs.
    pub log: Vec<u8>,
}

impl Store {
    /// The record of `key`; one that is broken or of another format counts as none.
    pub fn record(&self, key: &Digest) -> Option<Record> {
        let bytes = fs::read(self.record_path(key)).ok()?;
        let body = bytes.strip_prefix(MARK)?;
        let (check, payload) = body.split_at_checked(32)?;
        if Digest::of(payload).0 != check {
            return None;
        }
        let record: Record = postcard::from_bytes(payload).ok()?;
        (record.key == *key).then_some(record)
    }

    /// All results that can be read.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        super::gc::entries(&self.root.join("records"))
            .into_iter()
            .filter_map(|(_, key)| self.record(&key?))
    }

    /// Keeps `record`; its content must be in the store already.
    pub fn put(&self, record: &Record) -> Result<()> {
        let payload = postcard::to_stdvec(record).context("encoding a record")?;
        let mut bytes = MARK.to_vec();
        bytes.extend(Digest::of(&payload).0);
        bytes.extend(payload);
        atomic::write(&self.record_path(&record.key), &bytes)
    }

    /// Notes that `key` was used now, for [`super::gc`].
    pub fn touch(&self, key: &Digest) {
        if let Ok(file) = fs::File::open(self.record_path(key)) {
            // an older time only makes it go sooner
            let _ = file.set_modified(std::time::SystemTime::now());
        }
    }
}
