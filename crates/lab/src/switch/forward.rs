//! Frames from port to port.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::port::Port;
use super::table::{Address, Table};

/// More machines than a lab has.
const MOST_PORTS: usize = 64;

/// The ports, and who is behind them.
#[derive(Debug, Default)]
pub struct Switch {
    /// A port's number is its place.
    ports: Vec<Option<Port>>,
    table: Table,
}

impl Switch {
    /// Adds a client; its port's number, or none if all are taken.
    pub fn plug(&mut self, stream: UnixStream) -> io::Result<Option<usize>> {
        let port = Port::new(stream)?;
        let free = self.ports.iter().position(Option::is_none);
        let index = free.unwrap_or(self.ports.len());
        if index >= MOST_PORTS {
            return Ok(None);
        }
        if free.is_none() {
            self.ports.push(None);
        }
        self.ports[index] = Some(port);
        Ok(Some(index))
    }

    /// Whether nobody is plugged in.
    pub fn is_empty(&self) -> bool {
        self.ports.iter().all(Option::is_none)
    }

    /// Bytes that a port's client was given, and frames for it that were lost.
    pub fn count(&self, port: usize) -> Option<(u64, u64)> {
        let port = self.ports.get(port)?.as_ref()?;
        Some((port.delivered, port.lost))
    }

    /// Waits, at most for `limit`, until a client sends, takes what it didn't
    /// take before, or knocks at `listener`, and does what is to be done.
    pub fn turn(&mut self, listener: Option<&UnixListener>, limit: Duration) -> io::Result<()> {
        let (knocks, ready) = self.wait(listener, limit)?;
        if let Some(listener) = listener.filter(|_| knocks) {
            match listener.accept() {
                // one too many is hung up on
                Ok((stream, _)) => drop(self.plug(stream)?),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        let now = Instant::now();
        for (index, sends) in ready {
            if sends && !self.receive(index, now) {
                self.unplug(index);
            }
        }
        for index in 0..self.ports.len() {
            let broken = self.ports[index]
                .as_mut()
                .is_some_and(|port| port.is_behind() && port.flush().is_err());
            if broken {
                self.unplug(index);
            }
        }
        Ok(())
    }

    /// Whether a client knocks, and of each port whether it sends.
    fn wait(
        &self,
        listener: Option<&UnixListener>,
        limit: Duration,
    ) -> io::Result<(bool, Vec<(usize, bool)>)> {
        let open = || {
            let numbered = self.ports.iter().enumerate();
            numbered.filter_map(|(index, port)| Some((index, port.as_ref()?)))
        };
        let mut waits: Vec<PollFd<'_>> = open()
            .map(|(_, port)| {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, port.is_behind());
                PollFd::from_borrowed_fd(port.stream.as_fd(), flags)
            })
            .collect();
        waits.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut waits, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let heard: Vec<bool> = waits
            .iter()
            .map(|wait| !(wait.revents() - PollFlags::OUT).is_empty())
            .collect();
        let ready: Vec<_> = open().map(|(index, _)| index).zip(heard.clone()).collect();
        let knocks = listener.is_some() && heard.last() == Some(&true);
        Ok((knocks, ready))
    }

    /// Reads once from a client, and passes on what is complete. False if it
    /// has hung up, or sends what are no frames.
    fn receive(&mut self, index: usize, now: Instant) -> bool {
        // taken out, so that its frames can be put into the others
        let Some(mut from) = self.ports.get_mut(index).and_then(Option::take) else {
            return true;
        };
        let alive = match from.frames.read(&mut from.stream) {
            Ok(0) => false,
            Ok(_) => loop {
                match from.frames.take() {
                    Ok(Some(frame)) => self.pass(index, frame, now),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            },
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        };
        self.ports[index] = Some(from);
        alive
    }

    /// Passes a frame, its length before it, to whom it is for.
    fn pass(&mut self, from: usize, framed: &[u8], now: Instant) {
        let Some((to, sender)) = addresses(framed) else {
            return;
        };
        self.table.learn(sender, from, now);
        match self.table.find(to, now) {
            // it heard it already
            Some(port) if port == from => {}
            Some(port) => {
                if let Some(Some(port)) = self.ports.get_mut(port) {
                    port.put(framed);
                }
            }
            // the sender's own place is empty while its frames are passed
            None => {
                for port in self.ports.iter_mut().flatten() {
                    port.put(framed);
                }
            }
        }
    }

    fn unplug(&mut self, index: usize) {
        self.ports[index] = None;
        self.table.forget(index);
    }
}

/// To whom and from whom a frame is; none if it is too short to be one.
fn addresses(framed: &[u8]) -> Option<(Address, Address)> {
    let frame = framed.get(4..)?;
    (frame.len() >= 14).then_some(())?;
    let (to, rest) = frame.split_first_chunk::<6>()?;
    Some((*to, *rest.first_chunk::<6>()?))
}
