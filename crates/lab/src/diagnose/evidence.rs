//! Lines that show what happened, and where they were written.

use std::fmt;

use protocol::Event;
use serde::{Deserialize, Serialize};

/// Who wrote a line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The machine's serial console.
    Serial,
    /// bootd's events.
    Bootd,
    /// The host: `lab` itself.
    Host,
    /// The server's DHCP server.
    Dhcp,
    /// The server's TFTP server.
    Tftp,
    /// The server's web server.
    Nginx,
}

impl Source {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Serial,
        Self::Bootd,
        Self::Host,
        Self::Dhcp,
        Self::Tftp,
        Self::Nginx,
    ];

    /// Its name, as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Bootd => "bootd",
            Self::Host => "host",
            Self::Dhcp => "dhcp",
            Self::Tftp => "tftp",
            Self::Nginx => "nginx",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A line and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub source: Source,
    /// What.
    pub text: String,
}

impl Line {
    pub(crate) fn new(source: Source, text: impl Into<String>) -> Self {
        Self {
            source,
            text: text.into(),
        }
    }

    /// An event of bootd's, as the table's signs expect it: `stage: message`.
    pub(crate) fn of(event: &Event) -> Self {
        let message = event.message.as_deref().unwrap_or_default();
        Self::new(Source::Bootd, format!("{}: {message}", event.stage))
    }
}
