//! What the index, the head and the lines of a log hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::why::Why;

/// How a task's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Well.
    Ok,
    /// Not.
    Failed,
    /// We were asked to stop.
    Interrupted,
    /// It did not run: its outputs came from the store.
    Restored,
    /// It still runs, or hermake was killed.
    Open,
}

impl Ending {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Interrupted => "stopped",
            Self::Restored => "restored",
            Self::Open => "no end",
        }
    }
}

/// A part of a task's time: a command that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Its program.
    pub name: String,
    /// Microseconds from the task's start.
    pub from_us: u64,
    /// Microseconds that it took.
    pub took_us: u64,
}

/// A task of a run, as the index has it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Indexed {
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// Its name, and the values of variables that are not the default ones.
    pub id: String,
    /// How it ended.
    pub ending: Ending,
    /// More about a bad end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// Why it ran.
    pub why: String,
    /// When it started, in microseconds since 1970.
    pub started_us: u64,
    /// For how long it ran, in microseconds; for what was restored, how long that took.
    pub took_us: u64,
    /// Microseconds that making it took when it was made, for what was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_us: Option<u64>,
    /// The process of hermake.
    pub pid: u32,
    /// Commands that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// The log, relative to the folder of runs; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

/// The first line of a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The task.
    pub task: String,
    /// What was run.
    pub argv: Vec<String>,
    /// Why.
    pub why: Why,
    /// When, in microseconds since 1970.
    pub started_us: u64,
}

/// A line that was printed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Milliseconds since the task's start.
    pub t: u64,
    /// `o` standard output, `e` standard error, `h` hermake itself.
    pub s: char,
    /// The line.
    pub l: String,
}
