//! A GET, as far as the first bytes of its body (RFC 9110 and 9112).

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::ask::{Question, Said};
use super::stack::Stack;

/// More than the head of any answer of ours and the first bytes of its body.
const MOST: usize = 16 << 10;

/// What of the file is asked for: enough to see what it is.
const RANGE: usize = 1024;

/// A request and what came of it.
#[derive(Debug)]
pub(super) struct Get {
    name: &'static str,
    path: &'static str,
    /// Whether the body must be a program for UEFI.
    program: bool,
    socket: Option<SocketHandle>,
    sent: bool,
    received: Vec<u8>,
}

impl Get {
    fn new(name: &'static str, path: &'static str, program: bool) -> Self {
        Self {
            name,
            path,
            program,
            socket: None,
            sent: false,
            received: Vec::new(),
        }
    }

    /// bootd, behind nginx.
    pub(super) fn health() -> Self {
        Self::new("HTTP /healthz", "/healthz", false)
    }

    /// The kernel on the content disk.
    pub(super) fn kernel() -> Self {
        Self::new("HTTP /content/vmlinuz", "/content/vmlinuz", true)
    }

    fn request(&self, host: std::net::Ipv4Addr) -> String {
        let range = if self.program {
            format!("Range: bytes=0-{}\r\n", RANGE - 1)
        } else {
            String::new()
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lab-probe\r\n{range}Connection: close\r\n\r\n",
            self.path
        )
    }

    /// What has been received comes to; none if more is needed.
    fn judge(&self) -> Option<Said> {
        let Some(head) = Head::read(&self.received)? else {
            return Some(Err("an answer that isn't HTTP".to_owned()));
        };
        if !matches!(head.status, 200 | 206) {
            return Some(Err(format!(
                "status {}{}",
                head.status,
                meaning(head.status)
            )));
        }
        if !self.program {
            return Some(Ok(format!("status {}", head.status)));
        }
        let size = head
            .size
            .map_or("its first bytes".to_owned(), |size| format!("{size} bytes"));
        match head.body {
            _ if head.size == Some(0) => Some(Err("an empty file".to_owned())),
            [b'M', b'Z', ..] => Some(Ok(size)),
            [a, b, ..] => Some(Err(format!(
                "the file isn't a kernel that UEFI starts: it begins with {a:02x} {b:02x}"
            ))),
            [] | [_] => None,
        }
    }
}

impl Question for Get {
    fn name(&self) -> &'static str {
        self.name
    }

    fn turn(&mut self, _now: Duration, stack: &mut Stack) -> Option<Said> {
        if !stack.is_addressed() {
            return None;
        }
        let request = self.request(stack.plan().server);
        let handle = *self.socket.get_or_insert_with(|| stack.tcp(80));
        let socket = stack.tcp_socket(handle);
        if !self.sent && socket.can_send() {
            // it fits: the buffer is empty, and larger
            self.sent = socket.send_slice(request.as_bytes()).is_ok();
        }
        while socket.can_recv() && self.received.len() < MOST {
            let received = &mut self.received;
            let _ = socket.recv(|bytes| {
                let taken = bytes.len().min(MOST - received.len());
                received.extend_from_slice(&bytes[..taken]);
                (taken, ())
            });
        }
        let said = self.judge().or_else(|| {
            let state = socket.state();
            if self.received.len() >= MOST {
                Some(Err("an answer whose head has no end".to_owned()))
            } else if state == tcp::State::Closed && !self.sent {
                Some(Err("the server refuses the connection".to_owned()))
            } else if self.sent && !socket.may_recv() {
                Some(Err("the connection was closed before the answer".to_owned()))
            } else {
                None
            }
        });
        if said.is_some() {
            // what is still to come is of no interest
            socket.abort();
        }
        said
    }

    fn overdue(&self) -> String {
        match (self.sent, self.received.is_empty()) {
            (false, _) => "no connection to port 80".to_owned(),
            (true, true) => "a connection but no answer".to_owned(),
            (true, false) => "no whole answer".to_owned(),
        }
    }

    fn look(&self) -> String {
        let what = if self.program {
            "systemctl --no-pager status nginx; findmnt /srv/content; ls -l /srv/content/"
        } else {
            "systemctl --no-pager status nginx bootd; sudo journalctl --no-pager -n 20 -u bootd"
        };
        format!("make ssh VM=server CMD='{what}'")
    }
}

/// What usually stands behind a status.
fn meaning(status: u16) -> &'static str {
    match status {
        403 => " (nginx may not read the file)",
        404 => " (the file is not there)",
        502 => " (nginx is up, but bootd behind it does not answer)",
        504 => " (nginx is up, but bootd behind it takes too long)",
        _ => "",
    }
}

/// An answer's head, as far as it is read.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    status: u16,
    /// The file's whole length.
    size: Option<u64>,
    body: &'a [u8],
}

impl<'a> Head<'a> {
    /// None: more is needed. `Some(None)`: this is no answer.
    #[allow(clippy::option_option, reason = "three outcomes, read in one place")]
    fn read(answer: &'a [u8]) -> Option<Option<Self>> {
        const START: &[u8] = b"HTTP/1.";
        let compared = START.len().min(answer.len());
        if answer[..compared] != START[..compared] {
            return Some(None);
        }
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(Self::parse(&answer[..end], &answer[end + 4..]))
    }

    fn parse(head: &[u8], body: &'a [u8]) -> Option<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        // HTTP/1.1 206 Partial Content
        let status = lines.next()?.split(' ').nth(1)?;
        let status = (status.len() == 3).then(|| status.parse().ok())??;
        let (mut length, mut range) = (None, None);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok();
            } else if name.eq_ignore_ascii_case("content-range") {
                // bytes 0-1023/8765432
                range = value.rsplit('/').next().and_then(|size| size.parse().ok());
            }
        }
        Some(Self {
            status,
            size: range.or(length),
            body,
        })
    }
}
