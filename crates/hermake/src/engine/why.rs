//! Why a task runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outputs::Difference;
use crate::manifest::{Change, Manifest};

/// The reason for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Why {
    /// There is no result of it, here or in the store.
    NoRecord,
    /// The user asked for it.
    Forced,
    /// What enters the key changed; most telling first.
    Changed {
        /// All changes.
        changes: Vec<Change>,
    },
    /// An output is gone or was edited, and is not in the store.
    Output {
        /// Which.
        path: String,
        /// Whether it is gone.
        gone: bool,
    },
    /// The result is known, but its content in the store is gone or damaged.
    Blob {
        /// What the store says.
        message: String,
    },
    /// The service does not run.
    NotRunning,
}

impl Why {
    /// From the last manifest here, if there is one.
    /// `at` says where a change is written, if it is in a task file.
    pub fn of(
        now: &Manifest,
        last: Option<&Manifest>,
        at: &dyn Fn(&Change) -> Option<String>,
    ) -> Self {
        match last {
            None => Self::NoRecord,
            Some(last) => match now.changes(last) {
                changes if changes.is_empty() => Self::NoRecord,
                mut changes => {
                    for change in &mut changes {
                        change.at = at(change);
                    }
                    Self::Changed { changes }
                }
            },
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        match self {
            Self::NoRecord => "no result of it yet".into(),
            Self::Forced => "forced".into(),
            Self::Changed { changes } => {
                let first = changes.first().map(Change::line).unwrap_or_default();
                match changes.len() {
                    0 | 1 => first,
                    n => format!("{first}, and {} more", n - 1),
                }
            }
            Self::Output { path, gone: true } => format!("output {path} is gone"),
            Self::Output { path, gone: false } => format!("output {path} was changed"),
            Self::Blob { message } => message.clone(),
            Self::NotRunning => "not running".into(),
        }
    }
}

impl From<Difference> for Why {
    fn from(difference: Difference) -> Self {
        match difference {
            Difference::Gone(path) => Self::Output { path, gone: true },
            Difference::Changed(path) => Self::Output { path, gone: false },
        }
    }
}
