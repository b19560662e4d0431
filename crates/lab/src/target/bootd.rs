//! Asking bootd, through the server's forwarded port.

use std::time::Duration;

use protocol::{EventPage, Mac, MachineStatus};
use serde::de::DeserializeOwned;

use crate::http::{self, HttpError};
use crate::vm::Forwards;

/// bootd gave no answer, or none that is understood.
#[derive(Debug, thiserror::Error)]
pub enum BootdError {
    /// No answer.
    #[error("the server's bootd does not answer {url}: {source}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// What went wrong.
        source: HttpError,
    },
    /// Another answer than the protocol's.
    #[error(
        "bootd's answer to {url} is not understood ({source}); is it of another version? `make up` updates it"
    )]
    Strange {
        /// What was asked.
        url: String,
        /// Where it differs.
        source: serde_json::Error,
    },
}

/// One server's bootd.
#[derive(Debug, Clone)]
pub struct Bootd {
    url: String,
}

impl Bootd {
    /// The bootd behind `forwards`.
    pub fn new(forwards: &Forwards) -> Self {
        Self {
            url: forwards.url(),
        }
    }

    /// The bootd at `url`, which has no slash at its end.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// Every machine that it knows.
    pub fn machines(&self, limit: Duration) -> Result<Vec<MachineStatus>, BootdError> {
        self.get("/machines", limit)
    }

    /// The machine with this address, if it knows it.
    pub fn machine(&self, mac: Mac) -> Result<Option<MachineStatus>, BootdError> {
        let machines = self.machines(Duration::from_secs(10))?;
        Ok(machines.into_iter().find(|machine| machine.mac == mac))
    }

    /// What came after event `since`; waits up to `wait` seconds for it.
    pub fn events(&self, since: u64, wait: u64) -> Result<EventPage, BootdError> {
        let limit = Duration::from_secs(wait + 10);
        self.get(&format!("/events?since={since}&wait={wait}"), limit)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, BootdError> {
        let url = format!("{}{path}", self.url);
        match http::get(&url, limit) {
            Err(source) => Err(BootdError::NoAnswer { url, source }),
            Ok(text) => {
                serde_json::from_str(&text).map_err(|source| BootdError::Strange { url, source })
            }
        }
    }
}
