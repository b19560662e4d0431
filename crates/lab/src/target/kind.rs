//! The kinds of failure that `lab target up` tells apart by its exit status.
//! `docs/troubleshooting.md` has the same list.

use std::time::SystemTime;

use super::times::milliseconds;
use crate::diagnose::{Diagnosis, Saved};
use crate::state::VmPaths;

/// Which kind of end a machine came to that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// It said so itself, or its console did.
    Failed,
    /// It takes longer than it ever should.
    StandsStill,
    /// Its QEMU is gone.
    Gone,
    /// The server does not answer any more.
    NoServer,
    /// bootd can't render what the machine needs.
    Template,
    /// The state folder can't be read.
    State,
    /// A service of the server that it needs doesn't run.
    Service,
}

impl WatchKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::StandsStill,
        Self::Gone,
        Self::NoServer,
        Self::Template,
        Self::State,
        Self::Service,
    ];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::StandsStill => "stands-still",
            Self::Gone => "gone",
            Self::NoServer => "no-server",
            Self::Template => "template",
            Self::State => "state",
            Self::Service => "service",
        }
    }

    /// The exit status that tells it.
    pub fn exit(self) -> u8 {
        match self {
            Self::Failed => 10,
            Self::StandsStill => 11,
            Self::Gone => 12,
            Self::NoServer => 13,
            Self::Template => 14,
            Self::State => 15,
            Self::Service => 16,
        }
    }
}

/// Why a machine did not become ready.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct WatchError {
    /// Which kind.
    pub kind: WatchKind,
    /// The last point that it reached, by its name in the table of causes.
    pub at: &'static str,
    /// What usually causes it.
    pub diagnosis: Option<Box<Diagnosis>>,
    pub(super) text: String,
}

impl WatchError {
    /// What is told of a machine that is not ready: what happened, the usual
    /// cause, another hint, where the console's log is.
    pub(crate) fn new(
        kind: WatchKind,
        at: &'static str,
        text: &str,
        diagnosis: Option<Diagnosis>,
        hint: Option<&str>,
        log: &str,
    ) -> Self {
        let mut lines = vec![text.to_owned()];
        lines.extend(diagnosis.as_ref().map(ToString::to_string));
        lines.extend(hint.map(|hint| format!("  {hint}")));
        lines.push(format!("  its console: {log}"));
        Self {
            kind,
            at,
            diagnosis: diagnosis.map(Box::new),
            text: lines.join("\n"),
        }
    }

    /// The same failure, told together with others.
    pub(super) fn among(&self, text: String) -> Self {
        Self {
            kind: self.kind,
            at: self.at,
            diagnosis: self.diagnosis.clone(),
            text,
        }
    }

    /// Keeps it for `lab status`.
    pub(crate) fn keep(&self, vm: &VmPaths) {
        let saved = Saved {
            time: milliseconds(SystemTime::now()),
            kind: self.kind.as_str().to_owned(),
            exit: self.kind.exit(),
            stage: self.at.to_owned(),
            text: self.text.clone(),
            diagnosis: self.diagnosis.as_deref().cloned(),
        };
        saved.write(vm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_every_exit_status() {
        let text = include_str!("../../../../docs/troubleshooting.md");
        for kind in WatchKind::ALL {
            let row = format!("| {} | `{}` |", kind.exit(), kind.as_str());
            assert!(text.contains(&row), "docs/troubleshooting.md lacks {row}");
        }
    }
}
