//! Who asks, and whom.

use std::net::Ipv4Addr;

use smoltcp::wire::EthernetAddress;

use crate::config::Network;

/// What the questions are made from.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The server's address.
    pub(super) server: Ipv4Addr,
    /// Length of the segment's prefix.
    pub(super) prefix: u8,
    /// An address that nobody else has; none if DHCP may give out all of them.
    pub(super) address: Option<Ipv4Addr>,
    /// Who asks as firmware, and for files.
    pub(super) firmware: EthernetAddress,
    /// Who asks as iPXE. Another one, since ISC's dhcpd drops a second question
    /// while it looks whether the address for the first is free.
    pub(super) ipxe: EthernetAddress,
}

impl Plan {
    pub(super) fn new(network: &Network) -> Self {
        Self {
            server: network.server,
            prefix: network.prefix,
            address: free(network),
            firmware: derived(&network.lab, "firmware"),
            ipxe: derived(&network.lab, "ipxe"),
        }
    }
}

/// The last address that is neither the server's nor DHCP's to give.
fn free(network: &Network) -> Option<Ipv4Addr> {
    let first = u32::from(network.address).saturating_add(1);
    let mut last = u32::from(network.broadcast).saturating_sub(1);
    while last >= first {
        let address = Ipv4Addr::from(last);
        if (network.dhcp_start..=network.dhcp_end).contains(&address) {
            last = u32::from(network.dhcp_start).checked_sub(1)?;
        } else if address == network.server {
            last = last.checked_sub(1)?;
        } else {
            return Some(address);
        }
    }
    None
}

/// The same at each probe, so that the DHCP server has the same address to
/// offer and the range is not used up.
fn derived(lab: &str, role: &str) -> EthernetAddress {
    let hash = blake3::hash(format!("{lab}/probe/{role}").as_bytes());
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&hash.as_bytes()[..6]);
    // Bit 0: a group of machines; bit 1: not assigned by a maker.
    bytes[0] = (bytes[0] & !0x01) | 0x02;
    EthernetAddress(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Auto, Lab};
    use crate::host::{Backend, Distribution};

    fn network(toml: &str) -> Network {
        let auto = Auto {
            backend: Backend::Hub,
            distribution: Distribution::Debian,
        };
        Lab::parse(toml, "lab.toml", "lab", auto).unwrap().network
    }

    #[test]
    fn the_address_is_nobodys() {
        let free = |toml: &str| free(&network(toml)).map(|address| address.to_string());
        assert_eq!(free("").as_deref(), Some("192.168.105.254"));
        let server_is_last = "[network]\nserver = '192.168.105.254'\n";
        assert_eq!(free(server_is_last).as_deref(), Some("192.168.105.253"));
        let to_the_end = "[network]\ndhcp-range = ['192.168.105.10', '192.168.105.254']\n";
        assert_eq!(free(to_the_end).as_deref(), Some("192.168.105.9"));
        let all = "[network]\ndhcp-range = ['192.168.105.2', '192.168.105.254']\n";
        assert_eq!(free(all), None);
    }

    #[test]
    fn machines_are_told_apart_and_stay_themselves() {
        let (one, again) = (Plan::new(&network("")), Plan::new(&network("")));
        assert_eq!(one.firmware, again.firmware);
        assert_ne!(one.firmware, one.ipxe);
        assert!(one.firmware.is_unicast() && one.ipxe.is_unicast());
    }
}
