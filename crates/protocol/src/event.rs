//! What is reported, and what is kept of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Mac, MachineState, Stage};

/// How far a step is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// What a machine posts to `/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventReport {
    /// Who reports.
    pub mac: Mac,
    /// The token of its plan.
    pub token: String,
    /// The stage it has reached.
    pub stage: Stage,
    /// More, for people; for [`Stage::Failed`] the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far the stage is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// More, for programs: what cloud-init's status says, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// One event as `bootd` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: they rise by one, across restarts.
    pub seq: u64,
    /// Milliseconds since 1970, by the server's clock.
    pub time: u64,
    /// The machine's name; none for an unknown machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The machine's address; none if the event is no machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// What was reached.
    pub stage: Stage,
    /// The machine's state after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MachineState>,
    /// More, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far the stage is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// More, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// The answer to `GET /events?since=N`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// The events after `N`, oldest first.
    pub events: Vec<Event>,
    /// What to ask for as `since` next.
    pub next: u64,
    /// How many events after `N` are no longer kept.
    pub dropped: u64,
}
