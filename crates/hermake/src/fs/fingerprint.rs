//! What `stat` tells of a file, as far as it betrays a change of its content.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How far a file's time stamps may lag behind the clock: Linux stamps with
/// the time of the last timer tick, at most 10 ms ago.
const GRANULARITY_NS: i128 = 20_000_000;
/// The same for file systems that keep whole seconds only.
const COARSE_NS: i128 = 2_000_000_000;

/// Device, inode, size, mode and both times. Two equal fingerprints mean one content,
/// but for files written within the clock's granularity: see [`Fingerprint::settled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    dev: u64,
    ino: u64,
    size: u64,
    mode: u32,
    mtime: i64,
    ctime: i64,
}

impl Fingerprint {
    /// The fingerprint of a file that has `meta`.
    pub fn of(meta: &Metadata) -> Self {
        let ns = |s: i64, n: i64| s.wrapping_mul(1_000_000_000).wrapping_add(n);
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mode: meta.mode(),
            mtime: ns(meta.mtime(), meta.mtime_nsec()),
            ctime: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// A fingerprint that no file has: what carries it is always read again.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// True for [`Fingerprint::unknown`].
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// The fingerprint if the file was last changed so long before `read_at` (nanoseconds
    /// since the epoch) that a later change must show in its times, else [`Fingerprint::unknown`].
    ///
    /// `read_at` is the time at which reading the content began.
    #[must_use]
    pub fn settled(self, read_at: i128) -> Self {
        // every change of content sets ctime, whatever mtime was set to afterwards
        let last = i128::from(self.ctime);
        let whole_seconds = self.ctime % 1_000_000_000 == 0 && self.mtime % 1_000_000_000 == 0;
        let lag = if whole_seconds {
            COARSE_NS
        } else {
            GRANULARITY_NS
        };
        if last + lag < read_at {
            self
        } else {
            Self::unknown()
        }
    }

    /// True if this is the same file as `other`, not written to between the two, as far as its own times say:
    /// its permissions and its names may differ.
    pub fn is_version_of(&self, other: &Self) -> bool {
        let (mode, ctime) = (other.mode, other.ctime);
        Self {
            mode,
            ctime,
            ..*self
        } == *other
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Permission bits.
    pub fn mode(&self) -> u32 {
        self.mode & 0o7777
    }

    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// The wall clock in nanoseconds since the epoch.
pub fn now_ns() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}
