//! One thing that happened.

use protocol::Event;
use serde::{Deserialize, Serialize};

use crate::diagnose::{Line, Source};

/// One thing that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When: milliseconds since 1970. What the console shows was there then
    /// at the latest.
    pub time: u64,
    /// Who tells.
    pub source: Source,
    /// The stage that was reached with it, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What.
    pub text: String,
    /// What it is known by, so that it is written once.
    pub key: String,
}

impl Entry {
    /// What the host itself did or saw.
    pub(crate) fn host(time: u64, stage: Option<&str>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            time,
            source: Source::Host,
            stage: stage.map(str::to_owned),
            key: format!("host {time} {text}"),
            text,
        }
    }

    /// What the console showed at `offset` of the log of the start at `started`.
    pub(crate) fn serial(
        time: u64,
        stage: Option<&str>,
        text: &str,
        started: u64,
        offset: u64,
    ) -> Self {
        Self {
            time,
            source: Source::Serial,
            stage: stage.map(str::to_owned),
            text: text.to_owned(),
            key: format!("serial {started} {offset}"),
        }
    }

    /// One of bootd's events.
    pub(crate) fn event(event: &Event) -> Self {
        let mut text = event.message.clone().unwrap_or_default();
        if let (true, Some(progress)) = (text.is_empty(), event.progress) {
            let of = progress
                .total
                .map(|total| format!(" of {} MiB", total >> 20));
            text = format!("{} MiB{}", progress.done >> 20, of.unwrap_or_default());
        }
        Self {
            time: event.time,
            source: Source::Bootd,
            stage: Some(event.stage.to_string()),
            text,
            key: format!("bootd {}", event.seq),
        }
    }

    /// A line of one of the server's logs.
    pub(crate) fn log(time: u64, line: Line) -> Self {
        Self {
            time,
            source: line.source,
            stage: None,
            key: format!("{} {time} {}", line.source, line.text),
            text: line.text,
        }
    }
}
