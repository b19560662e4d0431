//! The wire between the probe and the segment.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::net::frames::{Frames, framed};

/// The longest frame of this Ethernet, without its checksum.
const LONGEST: usize = 14 + 1500;

/// Frames that wait to be looked at; what comes beyond is lost, as on any wire.
const MOST: usize = 256;

/// A stream of frames to and from the segment.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    frames: Frames,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self {
            stream,
            frames: Frames::default(),
        })
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(&framed(frame))
            .context("the server's QEMU takes nothing from the lab segment any more")
    }

    /// What comes within `wait`: possibly nothing, usually one frame.
    pub(super) fn receive(&mut self, wait: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
        self.stream
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.frames.read(&mut self.stream) {
            Ok(0) => anyhow::bail!("the server's QEMU went away while its services were asked"),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error).context("the lab segment can't be read"),
        }
        let mut received = Vec::new();
        while let Some(frame) = self.frames.take()? {
            let frame = &frame[4..];
            if frame.len() <= LONGEST && received.len() < MOST {
                received.push(frame.to_vec());
            }
        }
        Ok(received)
    }
}

/// Frames between the link and the IP stack.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) received: VecDeque<Vec<u8>>,
    pub(super) to_send: Vec<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), ToSend(&mut self.to_send)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<ToSend<'_>> {
        (self.to_send.len() < MOST).then_some(ToSend(&mut self.to_send))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = LONGEST;
        capabilities
    }
}

#[derive(Debug)]
pub(super) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

#[derive(Debug)]
pub(super) struct ToSend<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let written = write(&mut frame);
        self.0.push(frame);
        written
    }
}
