//! Which address and port a VM is reached at.

use std::net::Ipv4Addr;

use protocol::Mac;

/// The host's port that leads to `guest_port`, from QEMU's `info usernet`:
///
/// ```text
/// Hub -1 (uplink):
///   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
///   TCP[HOST_FORWARD]  12       127.0.0.1 40795       10.0.2.15    22     0     0
/// ```
pub fn from_usernet(text: &str, guest_port: u16) -> Option<u16> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["TCP[HOST_FORWARD]", _, _, port, _, guest, ..] if guest.parse() == Ok(guest_port) => {
                port.parse().ok()
            }
            _ => None,
        }
    })
}

/// The address that macOS's DHCP server gave to `mac`, from the text of
/// `/var/db/dhcpd_leases`. The newest lease stands first.
pub fn lease_of(text: &str, mac: Mac) -> Option<Ipv4Addr> {
    text.split('}').find_map(|block| {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))
        };
        // Bytes are written without leading zeros: 1,52:54:0:4c:42:1
        let bytes: Vec<u8> = field("hw_address")?
            .split_once(',')?
            .1
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()
            .ok()?;
        (bytes == mac.bytes()).then(|| field("ip_address")?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_forwards_are_found() {
        let text = "Hub -1 (uplink):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  TCP[ESTABLISHED]  14       127.0.0.1 5       10.0.2.15    80     0     0\r\n  TCP[HOST_FORWARD]  12       127.0.0.1 40795       10.0.2.15    22     0     0\r\n  TCP[HOST_FORWARD]  11       127.0.0.1 38409       10.0.2.15    80     0     0\r\n";
        assert_eq!(from_usernet(text, 22), Some(40795));
        assert_eq!(from_usernet(text, 80), Some(38409));
        assert_eq!(from_usernet(text, 443), None);
        assert_eq!(from_usernet("", 22), None);
    }

    #[test]
    fn a_lease_is_found_by_its_address_without_leading_zeros() {
        let text = "{\n\tname=server\n\tip_address=192.168.64.7\n\thw_address=1,36:dc:29:ff:3:ea\n\tlease=0x1\n}\n{\n\tip_address=192.168.64.6\n\thw_address=1,36:dc:29:ff:3:eb\n}\n";
        assert_eq!(
            lease_of(text, "36:dc:29:ff:03:eb".parse().unwrap()),
            Some([192, 168, 64, 6].into())
        );
        assert_eq!(lease_of(text, "36:dc:29:ff:03:ec".parse().unwrap()), None);
    }
}
