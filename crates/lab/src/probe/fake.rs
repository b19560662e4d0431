//! A server for the probe's tests, at the other end of a socket pair.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4DstUnreachable,
    Icmpv4Packet, Icmpv4Repr, IpCidr, IpProtocol, Ipv4Cidr, Ipv4Packet, Ipv4Repr,
};

use super::dhcp::datagram;
use super::link::{Link, Queues};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 105, 1);
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

/// How it serves. The default is a server with which all is well.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    /// How long it hears nothing.
    pub(super) deaf: Duration,
    pub(super) boot_file: &'static str,
    pub(super) file_as_option: bool,
    pub(super) next: Ipv4Addr,
    pub(super) identifier: Ipv4Addr,
    /// The answer to a read request, if not options and a block.
    pub(super) tftp: &'static [u8],
    pub(super) health: &'static str,
    pub(super) kernel: &'static str,
    /// A port at which nothing listens.
    pub(super) closed: Option<u16>,
    /// Whether others talk as well.
    pub(super) noise: bool,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            deaf: Duration::ZERO,
            boot_file: "ipxe.efi",
            file_as_option: false,
            next: ADDRESS,
            identifier: ADDRESS,
            tftp: b"\0\x06tsize\x001044480\0",
            health: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
            kernel: "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1023/8765432\r\nContent-Length: 1024\r\n\r\nMZ…",
            closed: None,
            noise: false,
        }
    }
}

/// What it was asked.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The types of DHCP messages.
    pub(super) dhcp: Vec<u8>,
    pub(super) tftp: Vec<Vec<u8>>,
}

impl Fake {
    pub(super) fn silent() -> Self {
        Self {
            deaf: Duration::MAX,
            ..Self::default()
        }
    }

    /// Serves until the other end hangs up.
    pub(super) fn serve(&self, mut link: Link) -> Seen {
        let mut seen = Seen::default();
        let mut machine = Machine::new(self);
        let start = Instant::now();
        while let Ok(frames) = link.receive(Duration::from_millis(5)) {
            let heard = start.elapsed() >= self.deaf;
            for frame in frames.into_iter().filter(|_| heard) {
                if let Some(message) = dhcp(&frame) {
                    seen.dhcp.extend(option(message, 53).first());
                    machine.queues.to_send.push(self.offer(message));
                } else if self.closed == Some(69) && is_to_tftp(&frame) {
                    machine.queues.to_send.push(unreachable(&frame));
                } else {
                    machine.queues.received.push_back(frame);
                }
            }
            if self.noise {
                machine.queues.to_send.extend(noise());
            }
            machine.turn(self, start.elapsed(), &mut seen);
            for frame in machine.queues.to_send.drain(..) {
                // it may have hung up
                let _ = link.send(&frame);
            }
        }
        seen
    }

    fn offer(&self, discover: &[u8]) -> Vec<u8> {
        let is_ipxe = option(discover, 77) == b"iPXE";
        let (file, last) = if is_ipxe {
            ("http://192.168.105.1/ipxe/boot.ipxe", 101)
        } else {
            assert_eq!(option(discover, 93), [0, 7]);
            assert!(option(discover, 60).starts_with(b"PXEClient"));
            (self.boot_file, 100)
        };
        let mut offer = discover[..240].to_vec();
        offer[0] = 2;
        offer[16..20].copy_from_slice(&[192, 168, 105, last]);
        offer[20..24].copy_from_slice(&self.next.octets());
        offer.extend_from_slice(&[53, 1, 2, 54, 4]);
        offer.extend_from_slice(&self.identifier.octets());
        if self.file_as_option {
            // the field is full of options then
            offer[108..112].copy_from_slice(&[3, 1, 7, 255]);
            offer.extend_from_slice(&[52, 1, 1, 67, u8::try_from(file.len()).unwrap()]);
            offer.extend_from_slice(file.as_bytes());
        } else {
            offer[108..108 + file.len()].copy_from_slice(file.as_bytes());
        }
        offer.push(255);
        datagram(
            (MAC, ADDRESS, 67),
            (EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST, 68),
            &offer,
        )
    }
}

/// Its IP stack.
struct Machine {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    tftp: SocketHandle,
    transfer: SocketHandle,
    http: Vec<SocketHandle>,
}

impl Machine {
    fn new(fake: &Fake) -> Self {
        let mut queues = Queues::default();
        let mut interface = Interface::new(
            Config::new(MAC.into()),
            &mut queues,
            smoltcp::time::Instant::ZERO,
        );
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::Ipv4(Ipv4Cidr::new(ADDRESS, 24));
            addresses.push(address).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut udp = |port: u16| {
            let buffer =
                || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            socket.bind(port).unwrap();
            sockets.add(socket)
        };
        let (tftp, transfer) = (udp(69), udp(40_069));
        let open = if fake.closed == Some(80) { 0 } else { 2 };
        let http = (0..open)
            .map(|_| {
                let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
                let mut socket = tcp::Socket::new(buffer(), buffer());
                socket.listen(80).unwrap();
                sockets.add(socket)
            })
            .collect();
        Self {
            interface,
            sockets,
            queues,
            tftp,
            transfer,
            http,
        }
    }

    fn turn(&mut self, fake: &Fake, now: Duration, seen: &mut Seen) {
        let now = smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap());
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        let asked = self.sockets.get_mut::<udp::Socket>(self.tftp);
        let asked: Vec<_> = std::iter::from_fn(|| {
            let (packet, from) = asked.recv().ok()?;
            Some((packet.to_vec(), from))
        })
        .collect();
        let transfer = self.sockets.get_mut::<udp::Socket>(self.transfer);
        for (packet, from) in asked {
            assert_eq!(packet, b"\0\x01ipxe.efi\0octet\0tsize\x000\0");
            transfer.send_slice(fake.tftp, from.endpoint).unwrap();
        }
        while let Ok((packet, from)) = transfer.recv() {
            let packet = packet.to_vec();
            if packet == [0, 4, 0, 0] {
                let mut block = vec![0, 3, 0, 1, b'M', b'Z'];
                block.resize(4 + 512, 7);
                transfer.send_slice(&block, from.endpoint).unwrap();
            }
            seen.tftp.push(packet);
        }
        for handle in &self.http {
            let socket = self.sockets.get_mut::<tcp::Socket>(*handle);
            let mut request = [0; 1024];
            let Ok(length @ 1..) = socket.recv_slice(&mut request) else {
                continue;
            };
            let request = std::str::from_utf8(&request[..length]).unwrap();
            assert!(request.contains("\r\nHost: 192.168.105.1\r\n"), "{request}");
            let answer = if request.starts_with("GET /healthz HTTP/1.1\r\n") {
                fake.health
            } else {
                assert!(request.starts_with("GET /content/vmlinuz HTTP/1.1\r\n"));
                assert!(request.contains("\r\nRange: bytes=0-1023\r\n"));
                fake.kernel
            };
            socket.send_slice(answer.as_bytes()).unwrap();
            socket.close();
        }
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
    }
}

/// The DHCP message in a frame to a server.
fn dhcp(frame: &[u8]) -> Option<&[u8]> {
    let is_bootp = frame.get(12..14)? == [8, 0] && frame.get(36..38)? == [0, 67];
    is_bootp.then(|| &frame[42..])
}

fn option(message: &[u8], wanted: u8) -> &[u8] {
    let mut rest = &message[240..];
    while let [kind, length, after @ ..] = rest {
        if *kind == 255 {
            break;
        }
        let (data, next) = after.split_at(usize::from(*length));
        if *kind == wanted {
            return data;
        }
        rest = next;
    }
    &[]
}

fn is_to_tftp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17) && frame[36..38] == [0, 69]
}

/// That nothing listens where this frame goes (RFC 792).
fn unreachable(frame: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let to = EthernetFrame::new_checked(frame).unwrap();
    let asked = Ipv4Packet::new_checked(to.payload()).unwrap();
    let header = Ipv4Repr::parse(&asked, &checksums).unwrap();
    let icmp = Icmpv4Repr::DstUnreachable {
        reason: Icmpv4DstUnreachable::PortUnreachable,
        header,
        data: &asked.payload()[..8],
    };
    let ip = Ipv4Repr {
        src_addr: ADDRESS,
        dst_addr: header.src_addr,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: MAC,
        dst_addr: to.src_addr(),
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + icmp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    icmp.emit(
        &mut Icmpv4Packet::new_unchecked(packet.payload_mut()),
        &checksums,
    );
    bytes
}

/// What others say: frames for nobody here, empty, too long, cut off, and an
/// offer to another machine.
fn noise() -> Vec<Vec<u8>> {
    let mut other = vec![0; 300];
    other[0] = 2;
    other[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    other[240..244].copy_from_slice(&[53, 1, 2, 255]);
    let offer = datagram(
        (MAC, ADDRESS, 67),
        (EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST, 68),
        &other,
    );
    let cut = offer[..50].to_vec();
    vec![
        vec![],
        vec![0xff; 13],
        vec![7; 60_000],
        vec![0; 1514],
        offer,
        cut,
    ]
}

/// Whole frames as the probe might get them, addressed to it.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let to = (
        EthernetAddress([2, 0, 0, 0, 0, 1]),
        Ipv4Addr::new(192, 168, 105, 254),
    );
    let mut discover = vec![0; 240];
    discover[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    discover.extend_from_slice(&[93, 2, 0, 7, 60, 9]);
    discover.extend_from_slice(b"PXEClient");
    discover.push(255);
    let fake = Fake::default();
    let ask = datagram((to.0, to.1, 49_200), (MAC, ADDRESS, 69), b"\0\x01");
    // RFC 826: who has the probe's address?
    let mut arp = vec![0xff; 6];
    arp.extend_from_slice(&MAC.0);
    arp.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend_from_slice(&MAC.0);
    arp.extend_from_slice(&ADDRESS.octets());
    arp.extend_from_slice(&[0; 6]);
    arp.extend_from_slice(&to.1.octets());
    vec![
        fake.offer(&discover),
        datagram((MAC, ADDRESS, 40_069), (to.0, to.1, 49_200), fake.tftp),
        unreachable(&ask),
        arp,
    ]
}
