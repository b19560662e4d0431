//! An HTTP server on this machine that misbehaves as it is told.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

/// What the server does with a request for a path.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The whole file, or the range that is asked for.
    File(Vec<u8>),
    /// The whole file, whatever is asked for.
    NoRanges(Vec<u8>),
    /// The file, but the connection ends after so many bytes of it.
    CutAfter(usize, Vec<u8>),
    /// Another path.
    Moved(String),
    /// A status with no body.
    Status(u16),
}

type Answers = Arc<Mutex<HashMap<String, Vec<Answer>>>>;

/// The server; it goes when the test's process goes.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    answers: Answers,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts one on a free port of the loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answers: Answers::default(),
            log: Arc::default(),
        };
        let (answers, log) = (server.answers.clone(), server.log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is part of the tests.
                let _ = serve(&stream, &answers, &log);
            }
        });
        server
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Gives these answers for `path`, one after the other; the last stays.
    pub(crate) fn answer(&self, path: &str, mut answers: Vec<Answer>) {
        answers.reverse();
        self.answers
            .lock()
            .unwrap()
            .insert(path.to_owned(), answers);
    }

    /// Requests so far: method, path, and the range if one was asked for.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, answers: &Answers, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let range = from.map_or_else(String::new, |from| format!(" {from}-"));
    log.lock().unwrap().push(format!("{method} {path}{range}"));
    let answer = {
        let mut answers = answers.lock().unwrap();
        match answers.get_mut(path) {
            Some(list) if list.len() > 1 => list.pop(),
            Some(list) => list.last().cloned(),
            None => None,
        }
    };
    let head = method == "HEAD";
    match answer.unwrap_or(Answer::Status(404)) {
        Answer::File(body) => match from {
            Some(from) if from >= body.len() => send(stream, head, 416, "", &[], 0),
            Some(from) => {
                let total = body.len();
                let range = format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
                send(stream, head, 206, &range, &body[from..], total - from)
            }
            None => send(stream, head, 200, "", &body, body.len()),
        },
        Answer::NoRanges(body) => send(stream, head, 200, "", &body, body.len()),
        Answer::CutAfter(bytes, body) => {
            let from = from.unwrap_or(0);
            let rest = &body[from..];
            let range = format!(
                "Content-Range: bytes {from}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            );
            let status = if from > 0 { 206 } else { 200 };
            send(
                stream,
                head,
                status,
                &range,
                &rest[..bytes.min(rest.len())],
                rest.len(),
            )
        }
        Answer::Moved(to) => send(stream, head, 301, &format!("Location: {to}\r\n"), &[], 0),
        Answer::Status(status) => send(stream, head, status, "", &[], 0),
    }
}

fn send(
    mut stream: &TcpStream,
    head: bool,
    status: u16,
    headers: &str,
    body: &[u8],
    length: usize,
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    if !head {
        stream.write_all(body)?;
    }
    stream.flush()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    bytes.concat()
}
