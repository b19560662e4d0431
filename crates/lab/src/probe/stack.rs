//! The IP stack of the machine that asks.

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{IpCidr, Ipv4Cidr};

use super::link::{Link, Queues};
use super::plan::Plan;

/// Room for one answer's first packets in each socket.
const BUFFER: usize = 8 << 10;

pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    plan: Plan,
    port: u16,
}

impl Stack {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut queues = Queues::default();
        let mut config = Config::new(plan.firmware.into());
        config.random_seed = random();
        let interface = Interface::new(config, &mut queues, Instant::ZERO);
        // RFC 6335, section 6: ports for whoever needs one for a while
        let port = 49152 + u16::try_from(random() % 16000).unwrap_or(0);
        let mut this = Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            queues,
            plan: plan.clone(),
            port,
        };
        if let Some(address) = plan.address {
            this.use_address(address);
        }
        this
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether it has an address to ask from.
    pub(super) fn is_addressed(&self) -> bool {
        self.interface.ipv4_addr().is_some()
    }

    /// Takes this address, unless it has one.
    pub(super) fn use_address(&mut self, address: Ipv4Addr) {
        if self.is_addressed() || address.is_unspecified() || address.is_multicast() {
            return;
        }
        let cidr = IpCidr::Ipv4(Ipv4Cidr::new(address, self.plan.prefix));
        self.interface.update_ip_addrs(|addresses| {
            // the list was empty
            let _ = addresses.push(cidr);
        });
    }

    /// Sends a frame as it is.
    pub(super) fn send_frame(&mut self, frame: Vec<u8>) {
        self.queues.to_send.push(frame);
    }

    /// A new UDP socket, bound to a port of its own.
    pub(super) fn udp(&mut self) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; BUFFER]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        let port = self.next_port();
        // a new socket and a port that isn't 0: nothing to refuse
        let _ = socket.bind(port);
        self.sockets.add(socket)
    }

    pub(super) fn udp_socket(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A new TCP connection to the server.
    pub(super) fn tcp(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let (server, local) = (self.plan.server, self.next_port());
        // a new socket and addresses that are whole: nothing to refuse
        let _ = socket.connect(self.interface.context(), (server, port), local);
        self.sockets.add(socket)
    }

    pub(super) fn tcp_socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Lets it work on what was received, and hands what is to be sent to `link`.
    pub(super) fn turn(&mut self, now: Duration, link: &mut Link) -> anyhow::Result<()> {
        let now = Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        for frame in self.queues.to_send.drain(..) {
            link.send(&frame)?;
        }
        Ok(())
    }

    pub(super) fn received(&mut self, frame: Vec<u8>) {
        self.queues.received.push_back(frame);
    }

    fn next_port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }
}

/// A number that nobody guesses.
pub(super) fn random() -> u64 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    // both ends of a version 4 UUID are random throughout
    bytes
        .iter()
        .take(4)
        .chain(bytes.iter().skip(12))
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
