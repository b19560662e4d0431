//! What can be wrong with a download.

use std::path::PathBuf;

/// A download that failed for good.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server has no such file.
    #[error("{url} is not there (any more)")]
    Gone {
        /// What was asked for.
        url: String,
    },
    /// The server won't give it.
    #[error("{url} can't be had: {why}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The server's word.
        why: String,
    },
    /// The server or the way to it failed, again and again.
    #[error("{url} failed {attempts} times, last: {why}; try again when the network is better")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// The last failure.
        why: String,
    },
    /// A document that should be small is not.
    #[error("{url} has more than {limit} bytes, which can't be what was asked for")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most that it may have.
        limit: u64,
    },
    /// Another file than the one that was pinned.
    #[error("{url} is another file than the one that was pinned: expected {expected}, got {got}")]
    Different {
        /// What was asked for.
        url: String,
        /// Digest, or size, that was pinned.
        expected: String,
        /// Digest, or size, that came.
        got: String,
    },
    /// The local file can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
