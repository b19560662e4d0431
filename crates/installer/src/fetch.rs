//! Gets what the server has, over a network that may fail for a while.

use std::{io::Read, thread, time::Duration};

use anyhow::{Context, anyhow, bail};
use ureq::{Agent, Body, http::Response};

/// Bytes of a file that is read whole.
const SMALL: u64 = 4 << 20;
/// Bytes that are handed on at once.
pub const CHUNK: usize = 1 << 20;

/// How often to try, and how long to wait between.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// The wait after the first; each next one is twice as long, up to 10 s.
    pub first_wait: Duration,
    /// How long the other side may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 10,
            first_wait: Duration::from_millis(500),
            silence: Duration::from_secs(30),
        }
    }
}

impl Patience {
    fn wait(self, failed: u32) -> Duration {
        let factor = 1 << failed.saturating_sub(1).min(16);
        (self.first_wait * factor).min(Duration::from_secs(10))
    }
}

/// An HTTP client with patience.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    patience: Patience,
}

/// Why one try brought nothing.
enum Failure {
    /// Worth another try.
    Passing(anyhow::Error),
    /// The same answer would come again.
    Final(anyhow::Error),
}

impl Client {
    /// A client that is this patient.
    pub fn new(patience: Patience) -> Self {
        let silence = Some(patience.silence);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .user_agent(concat!("lab-installer/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: agent.into(),
            patience,
        }
    }

    /// A small file, whole.
    pub fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        self.repeat(url, || {
            let mut response = self.request(url, 0)?;
            response
                .body_mut()
                .with_config()
                .limit(SMALL)
                .read_to_vec()
                .map_err(passing)
        })
    }

    /// Posts a JSON document.
    pub fn post(&self, url: &str, json: &[u8]) -> anyhow::Result<()> {
        self.repeat(url, || {
            let request = self
                .agent
                .post(url)
                .header("Content-Type", "application/json");
            judge(request.send(json).map_err(passing)?).map(|_| ())
        })
    }

    /// Hands the file of `size` bytes at `url` to `sink`, piece by piece. Goes on where it
    /// stopped when the connection breaks, and gives up when nothing more comes.
    pub fn stream(
        &self,
        url: &str,
        size: u64,
        mut sink: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut done, mut failed) = (0, 0);
        while done < size {
            let before = done;
            let Err(failure) = self.stream_once(url, size, &mut done, &mut sink) else {
                continue;
            };
            let error = match failure {
                Failure::Final(error) => {
                    return Err(error).with_context(|| format!("can't get {url}"));
                }
                Failure::Passing(error) => error,
            };
            failed = if done > before { 1 } else { failed + 1 };
            if failed >= self.patience.tries {
                return Err(error)
                    .with_context(|| format!("can't get {url}: gave up at byte {done} of {size}"));
            }
            eprintln!("lab: {url}: {error:#}; going on at byte {done}");
            thread::sleep(self.patience.wait(failed));
        }
        Ok(())
    }

    fn stream_once(
        &self,
        url: &str,
        size: u64,
        done: &mut u64,
        sink: &mut impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> Result<(), Failure> {
        let response = self.request(url, *done)?;
        let length = response.body().content_length();
        if length.is_some_and(|length| length != size - *done) {
            let has = length.unwrap_or_default() + *done;
            let error = anyhow!("the server's file has {has} bytes, and the plan says {size}");
            return Err(Failure::Final(error));
        }
        let mut body = response.into_body().into_reader().take(size - *done);
        loop {
            let mut chunk = vec![0; CHUNK];
            let mut filled = 0;
            let end = loop {
                match body.read(&mut chunk[filled..]) {
                    Ok(0) => break Ok(true),
                    Ok(n) => filled += n,
                    Err(error) => break Err(error),
                }
                if filled == CHUNK {
                    break Ok(false);
                }
            };
            chunk.truncate(filled);
            *done += filled as u64;
            if filled > 0 {
                sink(chunk).map_err(Failure::Final)?;
            }
            match end {
                Ok(false) => {}
                Ok(true) if *done < size => {
                    return Err(Failure::Passing(anyhow!("the connection ended early")));
                }
                Ok(true) => return Ok(()),
                Err(error) => return Err(passing(error)),
            }
        }
    }

    /// Asks for `url` from byte `from` on.
    fn request(&self, url: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let response = judge(request.call().map_err(passing)?)?;
        let range = response
            .headers()
            .get("Content-Range")
            .and_then(|range| range.to_str().ok());
        let begins = range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
        if from > 0 && !(response.status() == 206 && begins) {
            return Err(Failure::Final(anyhow!(
                "the server can't go on at byte {from}: {range:?}"
            )));
        }
        Ok(response)
    }

    fn repeat<T>(
        &self,
        url: &str,
        mut once: impl FnMut() -> Result<T, Failure>,
    ) -> anyhow::Result<T> {
        let mut failed = 0;
        loop {
            let error = match once() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error).with_context(|| url.to_owned()),
                Err(Failure::Passing(error)) => error,
            };
            failed += 1;
            if failed >= self.patience.tries {
                return Err(error).with_context(|| format!("{url}: gave up after {failed} tries"));
            }
            eprintln!("lab: {url}: {error:#}; trying again");
            thread::sleep(self.patience.wait(failed));
        }
    }
}

fn passing(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Passing(error.into())
}

/// The answer if it is a good one; else what the server says is wrong.
fn judge(mut response: Response<Body>) -> Result<Response<Body>, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = response
        .body_mut()
        .with_config()
        .limit(2000)
        .read_to_string()
        .unwrap_or_default();
    let error = anyhow!(
        "the server says {status}: {}",
        protocol::one_line(&said, 500)
    );
    Err(if status.is_server_error() {
        Failure::Passing(error)
    } else {
        Failure::Final(error)
    })
}

/// Fails unless `server` is an address that this client can speak to.
pub fn check_server(server: &str) -> anyhow::Result<()> {
    if !server.starts_with("http://") {
        bail!("lab.server={server} must begin with http://");
    }
    Ok(())
}
