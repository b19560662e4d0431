//! Plain HTTP to the server's forwarded port.

use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(String);

/// The answer's body to `GET url`, if its status is a success.
pub fn get(url: &str, limit: Duration) -> Result<String, HttpError> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .proxy(None)
            .build(),
    );
    let mut answer = agent
        .get(url)
        .call()
        .map_err(|error| HttpError(error.to_string()))?;
    answer
        .body_mut()
        .read_to_string()
        .map_err(|error| HttpError(error.to_string()))
}
