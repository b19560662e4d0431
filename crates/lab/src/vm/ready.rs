//! Whether a VM does what it is there for.

use std::time::Duration;

use super::record::Record;
use crate::http;

/// Asks the server once. `Ok` if nginx and bootd answer; else why not yet.
pub fn ready(record: &Record) -> Result<(), String> {
    let forwards = record
        .forwards
        .as_ref()
        .ok_or("it has no forwarded ports")?;
    match http::get(
        &format!("{}/healthz", forwards.url()),
        Duration::from_secs(2),
    ) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("no answer from its HTTP server yet ({error})")),
    }
}
