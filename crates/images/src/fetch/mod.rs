//! Downloads: small documents, and large files that are resumed, checked and
//! only then given their name.

mod download;
mod error;

use std::io::Read as _;
use std::time::Duration;

use ureq::Agent;
use ureq::http::StatusCode;

pub use download::{Expected, Patience, download};
pub use error::FetchError;

/// The most that a small document may have.
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Whether `url` answers with success within `limit`; else why not.
pub fn answers(url: &str, limit: Duration) -> Result<(), String> {
    let agent = resolve::agent(
        Agent::config_builder()
            .timeout_global(Some(limit))
            .http_status_as_error(true)
            .build(),
    );
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The document at `url`.
pub fn document(url: &str, patience: Patience) -> Result<Vec<u8>, FetchError> {
    patience.insist(url, || {
        let response = agent().get(url).call();
        let mut body = accept(url, response)?.into_body();
        let mut bytes = Vec::new();
        body.as_reader()
            .take(DOCUMENT_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Trouble::Passing(error.to_string()))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(Trouble::Final(FetchError::TooLarge {
                url: url.to_owned(),
                limit: DOCUMENT_LIMIT,
            }));
        }
        Ok(bytes)
    })
}

/// The size that the server tells for `url`.
pub fn size(url: &str, patience: Patience) -> Result<u64, FetchError> {
    patience.insist(url, || {
        let response = accept(url, agent().head(url).call())?;
        response
            .headers()
            .get("content-length")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or_else(|| Trouble::Passing("the server tells no size".to_owned()))
    })
}

/// What went wrong with one attempt.
enum Trouble {
    /// Worth another try.
    Passing(String),
    /// No use to try again.
    Final(FetchError),
}

/// Follows redirects; gives up on silence, not on a file that takes long.
fn agent() -> Agent {
    resolve::agent(
        Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .timeout_per_read(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .max_redirects(5)
            .build(),
    )
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// Sorts answers into good ones and the two kinds of trouble.
fn accept(url: &str, answer: Answer) -> Result<ureq::http::Response<ureq::Body>, Trouble> {
    let response = match answer {
        Ok(response) => response,
        Err(error @ (ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects)) => {
            return Err(Trouble::Final(FetchError::Refused {
                url: url.to_owned(),
                why: error.to_string(),
            }));
        }
        Err(error) => return Err(Trouble::Passing(error.to_string())),
    };
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        Err(Trouble::Final(FetchError::Gone {
            url: url.to_owned(),
        }))
    } else if status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
    {
        Err(Trouble::Passing(format!("the server says {status}")))
    } else {
        Err(Trouble::Final(FetchError::Refused {
            url: url.to_owned(),
            why: format!("the server says {status}"),
        }))
    }
}
