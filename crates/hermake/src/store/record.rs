//! What a key's task made.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Store;
use super::pack::Kind;
use crate::fs::Digest;
use crate::fs::tree::Entry;

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
        let bytes = self.pack.get((Kind::Record, *key))?;
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
        let of_record = |(kind, key)| (kind == Kind::Record).then_some(key);
        self.pack
            .list()
            .into_iter()
            .filter_map(move |(name, _)| self.record(&of_record(name)?))
    }

    /// Keeps `record` and the small contents that go with it; the large ones must be in the store already.
    pub fn put(&self, record: &Record, small: &[(Digest, Vec<u8>)]) -> Result<()> {
        let payload = postcard::to_stdvec(record).context("encoding a record")?;
        let mut bytes = MARK.to_vec();
        bytes.extend(Digest::of(&payload).0);
        bytes.extend(payload);
        let mut pieces = self.missing(small);
        pieces.push(((Kind::Record, record.key), &bytes));
        self.pack.add(&pieces)
    }

    /// Notes that `key` was used now, for [`super::gc`].
    pub fn touch(&self, key: &Digest) {
        self.pack.used((Kind::Record, *key));
    }
}
