//! A read request for a file, as far as its first block.
//!
//! RFC 1350, with the options of RFC 2347 and the size of RFC 2349.

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::udp::UdpMetadata;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpEndpoint, IpProtocol, Ipv4Packet, Ipv4Repr,
};

use super::ask::{Question, Said};
use super::stack::Stack;

const PORT: u16 = 69;
const AGAIN: Duration = Duration::from_secs(1);
/// The length of each block but the last, without an option.
const BLOCK: usize = 512;

/// A read request and what came of it.
#[derive(Debug)]
pub(super) struct Read {
    file: &'static str,
    socket: Option<SocketHandle>,
    due: Duration,
    /// The server's side of the transfer: it answers from a port of its own.
    server: Option<IpEndpoint>,
    size: Option<u64>,
}

impl Read {
    pub(super) fn new(file: &'static str) -> Self {
        Self {
            file,
            socket: None,
            due: Duration::ZERO,
            server: None,
            size: None,
        }
    }

    /// What is to be sent again until something comes.
    fn pending(&self, server: Ipv4Addr) -> (IpEndpoint, Vec<u8>) {
        match self.server {
            None => (IpEndpoint::new(server.into(), PORT), request(self.file)),
            // the options are accepted: now the first block
            Some(endpoint) => (endpoint, vec![0, 4, 0, 0]),
        }
    }

    /// Takes a packet. `Ok(None)`: something is still to come.
    fn packet(&mut self, packet: &[u8]) -> Result<Option<String>, String> {
        match Packet::read(packet) {
            Some(Packet::Options { size }) => {
                self.size = size;
                self.due = Duration::ZERO;
                Ok(None)
            }
            Some(Packet::Data { block: 1, data }) => {
                if !data.starts_with(b"MZ") {
                    return Err(format!(
                        "{} comes, but isn't a UEFI program: it begins with {:02x?}",
                        self.file,
                        &data[..data.len().min(2)]
                    ));
                }
                Ok(Some(match self.size {
                    Some(size) => format!("{size} bytes"),
                    None => "its first block".to_owned(),
                }))
            }
            Some(Packet::Data { block, .. }) => {
                Err(format!("block {block} comes before the first"))
            }
            Some(Packet::Error { code, text }) => Err(format!("error {code}, {text:?}")),
            None => Err("an answer that isn't TFTP".to_owned()),
        }
    }
}

impl Question for Read {
    fn name(&self) -> &'static str {
        "TFTP ipxe.efi"
    }

    fn turn(&mut self, now: Duration, stack: &mut Stack) -> Option<Said> {
        if !stack.is_addressed() {
            return None;
        }
        let server = stack.plan().server;
        let handle = *self.socket.get_or_insert_with(|| stack.udp());
        let socket = stack.udp_socket(handle);
        let mut said = None;
        while let Ok((packet, from)) = socket.recv() {
            let from = from.endpoint;
            let ours = self.server.is_none_or(|server| server == from);
            if said.is_some() || !ours || from.addr != IpAddress::Ipv4(server) {
                continue;
            }
            self.server = Some(from);
            said = self.packet(packet).transpose();
        }
        if said.is_some() {
            if let Some(endpoint) = self.server {
                // that was all; without it the server would go on for a while
                let farewell = error(0, "thank you, that was a test");
                let _ = socket.send_slice(&farewell, UdpMetadata::from(endpoint));
            }
            return said;
        }
        if now >= self.due {
            self.due = now + AGAIN;
            let (to, packet) = self.pending(server);
            let _ = socket.send_slice(&packet, UdpMetadata::from(to));
        }
        None
    }

    fn see(&mut self, frame: &[u8], stack: &mut Stack) -> Option<Said> {
        is_refused(frame, stack.plan().server)
            .then(|| Err("nothing listens on the server's UDP port 69".to_owned()))
    }

    fn overdue(&self) -> String {
        match self.server {
            None => "no answer".to_owned(),
            Some(_) => "no first block".to_owned(),
        }
    }

    fn look(&self) -> String {
        "make ssh VM=server CMD='systemctl --no-pager status tftpd-hpa; ls -l /srv/tftp'".to_owned()
    }
}

fn request(file: &str) -> Vec<u8> {
    let mut packet = vec![0, 1];
    for text in [file, "octet", "tsize", "0"] {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet
}

fn error(code: u16, text: &str) -> Vec<u8> {
    let mut packet = vec![0, 5];
    packet.extend_from_slice(&code.to_be_bytes());
    packet.extend_from_slice(text.as_bytes());
    packet.push(0);
    packet
}

/// What a server may answer.
#[derive(Debug, PartialEq, Eq)]
enum Packet<'a> {
    Data { block: u16, data: &'a [u8] },
    Error { code: u16, text: String },
    Options { size: Option<u64> },
}

impl<'a> Packet<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (kind, rest) = packet.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*kind) {
            3 => {
                let (block, data) = rest.split_first_chunk::<2>()?;
                let block = u16::from_be_bytes(*block);
                (data.len() <= BLOCK).then_some(Self::Data { block, data })
            }
            5 => {
                let (code, text) = rest.split_first_chunk::<2>()?;
                let text = text.split(|byte| *byte == 0).next()?;
                Some(Self::Error {
                    code: u16::from_be_bytes(*code),
                    text: String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned(),
                })
            }
            6 => {
                let words: Vec<_> = rest.split(|byte| *byte == 0).collect();
                let size = words.chunks_exact(2).find_map(|pair| {
                    let [name, value] = pair else { return None };
                    let value = std::str::from_utf8(value).ok()?;
                    name.eq_ignore_ascii_case(b"tsize")
                        .then(|| value.parse().ok())?
                });
                Some(Self::Options { size })
            }
            _ => None,
        }
    }
}

/// Whether this is the server's word that its TFTP port is closed (RFC 792,
/// destination unreachable).
fn is_refused(frame: &[u8], server: Ipv4Addr) -> bool {
    let refused = || {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let checksums = ChecksumCapabilities::default();
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let ip = Ipv4Repr::parse(&packet, &checksums).ok()?;
        if ip.next_header != IpProtocol::Icmp || ip.src_addr != server {
            return None;
        }
        // type 3, code 3: port unreachable, and eight bytes on the packet that
        // was sent, of which RFC 792 promises only the beginning
        let [3, 3, _, _, _, _, _, _, quoted @ ..] = packet.payload() else {
            return None;
        };
        let header = usize::from(quoted.first()? & 0xf) * 4;
        let port = quoted.get(header + 2..header + 4)?;
        Some(quoted.get(9) == Some(&u8::from(IpProtocol::Udp)) && port == PORT.to_be_bytes())
    };
    refused().unwrap_or(false)
}
