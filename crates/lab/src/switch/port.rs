//! One client of the switch: a QEMU, or the host.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use crate::net::frames::Frames;

/// How much waits for a client that doesn't read; what comes beyond is lost, as
/// on a switch of metal. More than the window of any TCP that boots a machine.
pub(super) const QUEUE: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Port {
    pub(super) stream: UnixStream,
    pub(super) frames: Frames,
    /// What waits, from `written` on. It begins with the rest of a frame.
    waiting: Vec<u8>,
    written: usize,
    /// Bytes that were handed over, and frames that were lost.
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

impl Port {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            frames: Frames::default(),
            waiting: Vec::new(),
            written: 0,
            delivered: 0,
            lost: 0,
        })
    }

    /// Whether something waits for it.
    pub(super) fn is_behind(&self) -> bool {
        self.written < self.waiting.len()
    }

    /// Takes a frame with its length: all of it, or nothing.
    pub(super) fn put(&mut self, frame: &[u8]) {
        if self.waiting.len() - self.written + frame.len() > QUEUE {
            self.lost += 1;
            return;
        }
        self.waiting.extend_from_slice(frame);
    }

    /// Hands over what it takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.is_behind() {
            match self.stream.write(&self.waiting[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.delivered += u64::try_from(count).unwrap_or(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // what is written goes when it is at least half: moved seldom, and cheap
        if self.written * 2 >= self.waiting.len() {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
