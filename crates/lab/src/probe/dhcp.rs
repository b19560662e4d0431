//! DISCOVER as a machine's firmware or iPXE would send it, and the OFFER.

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::ask::{Question, Said};
use super::plan::Plan;
use super::stack::{Stack, random};

/// When it is asked again. ISC's dhcpd answers after a second, so an answer is
/// usually on its way by then, and a second question does no harm.
const AGAIN: Duration = Duration::from_millis(1500);

/// RFC 951, section 3: no BOOTP message is shorter.
const SHORTEST: usize = 300;

/// Codes of options: RFC 2132, RFC 3004 (user class), RFC 4578 (93 and 94).
const OVERLOAD: u8 = 52;
const VENDOR_CLASS: u8 = 60;
const BOOT_FILE: u8 = 67;
const USER_CLASS: u8 = 77;
const ARCHITECTURE: u8 = 93;
const INTERFACE: u8 = 94;
const SERVER: u8 = 54;
const MESSAGE_TYPE: u8 = 53;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// UEFI of an x86-64 machine.
    Firmware,
    /// iPXE, loaded by it.
    Ipxe,
}

/// A DISCOVER and what came of it.
#[derive(Debug)]
pub(super) struct Discover {
    client: Client,
    mac: EthernetAddress,
    id: u32,
    /// When it is asked next.
    due: Duration,
}

impl Discover {
    pub(super) fn new(client: Client, plan: &Plan) -> Self {
        let mac = match client {
            Client::Firmware => plan.firmware,
            Client::Ipxe => plan.ipxe,
        };
        Self {
            client,
            mac,
            id: u32::try_from(random() >> 32).unwrap_or(0),
            due: Duration::ZERO,
        }
    }

    fn frame(&self) -> Option<Vec<u8>> {
        let mut options = vec![
            option(VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003016"),
            option(ARCHITECTURE, &[0, 7]),
            option(INTERFACE, &[1, 3, 16]),
        ];
        if self.client == Client::Ipxe {
            // the plain string, as iPXE has it, and not RFC 3004's list
            options.push(option(USER_CLASS, b"iPXE"));
        }
        let discover = DhcpRepr {
            message_type: DhcpMessageType::Discover,
            transaction_id: self.id,
            secs: 0,
            client_hardware_address: self.mac,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            // what is sent to an address that nobody has yet may not be seen
            broadcast: true,
            requested_ip: None,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: Some(&[1, 3, 6, 43, 54, 60, 66, 67]),
            dns_servers: None,
            max_size: Some(1472),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &options,
        };
        let mut message = vec![0; discover.buffer_len().max(SHORTEST)];
        discover
            .emit(&mut DhcpPacket::new_unchecked(&mut message[..]))
            .ok()?;
        Some(broadcast(self.mac, &message))
    }

    /// Whether the offer is one with which such a machine goes on.
    fn judge(&self, offer: &Offer, server: Ipv4Addr) -> Said {
        let address = offer.address;
        if let Some(other) = offer.from.filter(|from| *from != server) {
            return Err(format!(
                "{other} offers {address}: a second DHCP server on the lab segment"
            ));
        }
        let Some(file) = offer.file.as_deref() else {
            return Err(format!("an offer of {address} without a boot file"));
        };
        let script = format!("http://{server}/ipxe/boot.ipxe");
        let wanted = match self.client {
            Client::Firmware => "ipxe.efi",
            Client::Ipxe => script.as_str(),
        };
        if file != wanted {
            return Err(format!(
                "an offer of {address} with the boot file {file:?} instead of {wanted:?}"
            ));
        }
        if self.client == Client::Firmware && offer.next != server {
            return Err(format!(
                "an offer of {address} that sends to {} for {file}, and not to the server ({server})",
                offer.next
            ));
        }
        Ok(format!("{file}, {address} offered"))
    }
}

impl Question for Discover {
    fn name(&self) -> &'static str {
        match self.client {
            Client::Firmware => "DHCP (firmware)",
            Client::Ipxe => "DHCP (iPXE)",
        }
    }

    fn turn(&mut self, now: Duration, stack: &mut Stack) -> Option<Said> {
        if now >= self.due {
            self.due = now + AGAIN;
            stack.send_frame(self.frame()?);
        }
        None
    }

    fn see(&mut self, frame: &[u8], stack: &mut Stack) -> Option<Said> {
        let offer = Offer::read(frame, self.mac, self.id)?;
        let said = self.judge(&offer, stack.plan().server);
        if self.client == Client::Firmware && said.is_ok() {
            stack.use_address(offer.address);
        }
        Some(said)
    }

    fn overdue(&self) -> String {
        "no offer".to_owned()
    }

    fn look(&self) -> String {
        "make ssh VM=server CMD='sudo journalctl --no-pager -n 20 -u isc-dhcp-server -u dnsmasq' \
         (on lab0? any address left? services/dhcpd.conf.tera)"
            .to_owned()
    }
}

fn option(kind: u8, data: &[u8]) -> DhcpOption<'_> {
    DhcpOption { kind, data }
}

/// One end of a datagram.
pub(super) type End = (EthernetAddress, Ipv4Addr, u16);

/// A message from a machine without an address to every DHCP server.
fn broadcast(mac: EthernetAddress, message: &[u8]) -> Vec<u8> {
    datagram(
        (mac, Ipv4Addr::UNSPECIFIED, 68),
        (EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST, 67),
        message,
    )
}

/// A frame with a UDP packet.
pub(super) fn datagram(from: End, to: End, message: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr {
        src_port: from.2,
        dst_port: to.2,
    };
    let ip = Ipv4Repr {
        src_addr: from.1,
        dst_addr: to.1,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + message.len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: from.0,
        dst_addr: to.0,
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + ip.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &from.1.into(),
        &to.1.into(),
        message.len(),
        |payload| payload.copy_from_slice(message),
        &checksums,
    );
    bytes
}

/// What is read of an OFFER.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    address: Ipv4Addr,
    /// Who offers.
    from: Option<Ipv4Addr>,
    /// Who has the boot file.
    next: Ipv4Addr,
    file: Option<String>,
}

impl Offer {
    /// The offer in this frame, if it is one to this client's question.
    fn read(frame: &[u8], mac: EthernetAddress, id: u32) -> Option<Self> {
        let message = message(frame)?;
        let packet = DhcpPacket::new_checked(message).ok()?;
        let mut is_offer = false;
        let (mut from, mut file, mut overloaded) = (None, None, false);
        for option in packet.options() {
            match (option.kind, option.data) {
                (MESSAGE_TYPE, [2]) => is_offer = true,
                (SERVER, data) => from = <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from),
                (BOOT_FILE, data) => file = text(data),
                // RFC 2132, section 9.3: with bit 0 the field has options
                (OVERLOAD, [which]) => overloaded = which & 1 != 0,
                _ => {}
            }
        }
        if !is_offer
            || packet.transaction_id() != id
            || packet.client_hardware_address() != mac
            || packet.magic_number() != 0x6382_5363
        {
            return None;
        }
        if file.is_none() && !overloaded {
            // RFC 2131, section 2: `file`, 128 bytes from the 108th
            file = message.get(108..236).and_then(text);
        }
        Some(Self {
            address: packet.your_ip(),
            from,
            next: packet.server_ip(),
            file,
        })
    }
}

/// The payload of a UDP packet to a DHCP client.
fn message(frame: &[u8]) -> Option<&[u8]> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr::parse(&packet, &checksums).ok()?;
    if ip.next_header != IpProtocol::Udp || packet.more_frags() || packet.frag_offset() != 0 {
        return None;
    }
    let packet = UdpPacket::new_checked(packet.payload()).ok()?;
    let udp = UdpRepr::parse(
        &packet,
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        &checksums,
    )
    .ok()?;
    (udp.dst_port == 68).then(|| packet.payload())
}

/// The string that ends with the first zero; none if it is empty.
fn text(field: &[u8]) -> Option<String> {
    let text = field.split(|byte| *byte == 0).next()?;
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}
