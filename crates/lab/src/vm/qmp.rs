//! QEMU's control protocol: one JSON document a line, over a Unix socket.
//!
//! A small client of our own: the lab needs nine commands, while the crates
//! for it bring types generated for every command of one QEMU version.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What can go wrong between us and a QEMU.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket isn't there or nobody listens.
    #[error("cannot reach QEMU: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("QEMU went away during `{command}`: {source}")]
    Io {
        /// What was asked for.
        command: String,
        /// How it broke.
        source: io::Error,
    },
    /// The answer isn't QMP.
    #[error("not an answer of QEMU's to `{command}`: {text}")]
    Malformed {
        /// What was asked for.
        command: String,
        /// What came.
        text: String,
    },
    /// QEMU refused.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// What was asked for.
        command: String,
        /// Why, in QEMU's words.
        description: String,
    },
    /// An event didn't come in time.
    #[error("QEMU sent no {event} within {seconds} s")]
    NoEvent {
        /// The event that was waited for.
        event: String,
        /// For how long.
        seconds: u64,
    },
}

/// No answer of QEMU's to our commands is anywhere near as long.
const LONGEST: u64 = 4 << 20;

/// The command that ends negotiation.
const NEGOTIATE: &str = "qmp_capabilities";

/// How often a command is asked for while QEMU says that it is negotiating.
const RENEGOTIATIONS: usize = 3;

/// What QEMU says to a command.
enum Answer {
    /// It ran, and returned this.
    Return(Value),
    /// It was refused, for this reason.
    Error(String),
    /// It was not looked at, since a second greeting began negotiation anew.
    Negotiation,
}

/// A connection. QEMU serves one at a time.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    version: (u64, u64, u64),
    events: Vec<Value>,
}

impl Qmp {
    /// Connects, reads the greeting and leaves negotiation mode. QEMU accepts
    /// a second client but greets it only once the first has gone, so this may
    /// wait up to `limit`.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self, QmpError> {
        let stream = reach(path, limit).map_err(QmpError::Connect)?;
        stream
            .set_read_timeout(Some(limit))
            .map_err(QmpError::Connect)?;
        stream
            .set_write_timeout(Some(limit))
            .map_err(QmpError::Connect)?;
        let mut this = Self {
            stream: BufReader::new(stream),
            version: (0, 0, 0),
            events: Vec::new(),
        };
        let greeting = this.read("greeting")?;
        let version = &greeting["QMP"]["version"]["qemu"];
        let number = |name: &str| version[name].as_u64().unwrap_or(0);
        this.version = (number("major"), number("minor"), number("micro"));
        this.execute(NEGOTIATE, json!({}))?;
        Ok(this)
    }

    /// QEMU's version.
    pub fn version(&self) -> (u64, u64, u64) {
        self.version
    }

    /// Runs `command` and returns what it returns.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let mut line = json!({ "execute": command });
        if arguments
            .as_object()
            .is_none_or(|object| !object.is_empty())
        {
            line["arguments"] = arguments;
        }
        self.send(command, &line)?;
        for _ in 0..RENEGOTIATIONS {
            match self.answer(command)? {
                Answer::Return(value) => return Ok(value),
                Answer::Error(description) => {
                    return Err(QmpError::Refused {
                        command: command.to_owned(),
                        description,
                    });
                }
                // It was not run, so it may be asked for again.
                Answer::Negotiation => {
                    let negotiate = json!({ "execute": NEGOTIATE });
                    self.send(command, &negotiate)?;
                    self.answer(command)?;
                    self.send(command, &line)?;
                }
            }
        }
        Err(QmpError::Malformed {
            command: command.to_owned(),
            text: "it goes back to negotiation each time".to_owned(),
        })
    }

    fn send(&mut self, command: &str, line: &Value) -> Result<(), QmpError> {
        self.stream
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|source| QmpError::Io {
                command: command.to_owned(),
                source,
            })
    }

    /// The next answer. Events that come before it are kept; a greeting is
    /// passed over: QEMU opens a connection twice, and greets twice, when the
    /// client before this one went away at the wrong moment.
    fn answer(&mut self, command: &str) -> Result<Answer, QmpError> {
        loop {
            let mut answer = self.read(command)?;
            if answer.get("event").is_some() {
                self.events.push(answer);
            } else if answer.get("QMP").is_some() {
                // what follows it tells whether negotiation is over
            } else if let Some(error) = answer.get("error") {
                let description = error["desc"]
                    .as_str()
                    .unwrap_or("for no reason given")
                    .to_owned();
                return Ok(
                    if command != NEGOTIATE && description.contains("capabilities negotiation") {
                        Answer::Negotiation
                    } else {
                        Answer::Error(description)
                    },
                );
            } else if answer.get("return").is_some() {
                return Ok(Answer::Return(answer["return"].take()));
            } else {
                let text = answer.to_string();
                return Err(QmpError::Malformed {
                    command: command.to_owned(),
                    text,
                });
            }
        }
    }

    /// Runs a command of the human monitor and returns what it prints.
    pub fn human(&mut self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event called `name` for which `wanted` holds.
    pub fn wait_event(
        &mut self,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, QmpError> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self
                .events
                .iter()
                .position(|event| event["event"] == name && wanted(event));
            if let Some(index) = found {
                return Ok(self.events.remove(index));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let gone = || QmpError::NoEvent {
                event: name.to_owned(),
                seconds: limit.as_secs(),
            };
            if left.is_zero() {
                return Err(gone());
            }
            let io = |source| QmpError::Io {
                command: name.to_owned(),
                source,
            };
            self.stream
                .get_ref()
                .set_read_timeout(Some(left))
                .map_err(io)?;
            match self.read(name) {
                Ok(message) => self.events.push(message),
                Err(QmpError::Io { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(gone());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, command: &str) -> Result<Value, QmpError> {
        let io = |source| QmpError::Io {
            command: command.to_owned(),
            source,
        };
        loop {
            let mut line = Vec::new();
            (&mut self.stream)
                .take(LONGEST)
                .read_until(b'\n', &mut line)
                .map_err(io)?;
            if !line.ends_with(b"\n") {
                return Err(io(io::ErrorKind::UnexpectedEof.into()));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return serde_json::from_slice(&line).map_err(|_| QmpError::Malformed {
                command: command.to_owned(),
                text: String::from_utf8_lossy(&line).chars().take(200).collect(),
            });
        }
    }
}

/// Connects within `limit`, also when others stand in QEMU's queue, which has
/// one place: the system then says that the socket would block.
fn reach(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let deadline = Instant::now() + limit;
    loop {
        match super::socket::connect(path) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "qmp_tests.rs"]
mod tests;
