//! What the boot script put on the kernel's command line.

use std::net::Ipv4Addr;

use anyhow::{Context, anyhow};
use protocol::Mac;

/// The installer's own part of the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmdline {
    /// `lab.server=`: where the server answers, as `http://192.168.105.1`.
    pub server: String,
    /// `lab.mac=`: which machine this is, and which of its NICs is on the segment.
    pub mac: Mac,
    /// `lab.ip=`: the address that iPXE was given. Without it the network is taken as it is.
    pub address: Option<Address>,
    /// `lab.on-failure=`: what to do after a failure.
    pub on_failure: OnFailure,
}

/// An address on the lab segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// `lab.ip=`.
    pub ip: Ipv4Addr,
    /// `lab.netmask=`.
    pub netmask: Ipv4Addr,
    /// `lab.gateway=`.
    pub gateway: Option<Ipv4Addr>,
}

/// What to do after a failure, once it was shown and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Turn the machine off: whoever watches it sees that it is over.
    #[default]
    PowerOff,
    /// Try again from the firmware on.
    Reboot,
    /// Stay as it is, with the console showing why.
    Halt,
}

impl Cmdline {
    /// Reads the text of `/proc/cmdline`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        // the last one wins, as it does for the kernel; one that iPXE left empty counts as left out
        let value = |key: &str| {
            let mut values = text
                .split_whitespace()
                .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            values.next_back().filter(|value| !value.is_empty())
        };
        let needed = |key: &str| {
            value(key)
                .ok_or_else(|| anyhow!("the kernel's command line has no {key}=: {}", text.trim()))
        };
        let ip = |key: &str| {
            value(key)
                .map(|ip| {
                    ip.parse::<Ipv4Addr>()
                        .with_context(|| format!("{key}={ip}"))
                })
                .transpose()
        };
        let address = match ip("lab.ip")? {
            None => None,
            Some(address) => {
                needed("lab.netmask")?;
                let netmask = ip("lab.netmask")?.unwrap_or(Ipv4Addr::BROADCAST);
                Some(Address {
                    ip: address,
                    netmask,
                    gateway: ip("lab.gateway")?,
                })
            }
        };
        Ok(Self {
            server: needed("lab.server")?.trim_end_matches('/').to_owned(),
            mac: needed("lab.mac")?.parse().context("lab.mac=")?,
            address,
            on_failure: match value("lab.on-failure") {
                None | Some("poweroff") => OnFailure::PowerOff,
                Some("reboot") => OnFailure::Reboot,
                Some("halt") => OnFailure::Halt,
                Some(other) => {
                    return Err(anyhow!("lab.on-failure={other}: poweroff, reboot or halt"));
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "initrd=initrd.img rdinit=/lab-init lab.server=http://192.168.105.1 \
        lab.mac=52:54:00:4c:42:01 lab.ip=192.168.105.100 lab.netmask=255.255.255.0 lab.gateway=192.168.105.1\n";

    #[test]
    fn a_good_line() {
        let line = Cmdline::parse(GOOD).unwrap();
        assert_eq!(line.server, "http://192.168.105.1");
        assert_eq!(line.mac.to_string(), "52:54:00:4c:42:01");
        let address = line.address.unwrap();
        assert_eq!(address.ip.to_string(), "192.168.105.100");
        assert_eq!(address.gateway.unwrap().to_string(), "192.168.105.1");
        assert_eq!(line.on_failure, OnFailure::PowerOff);
    }

    #[test]
    fn an_empty_gateway_is_none_and_the_last_word_wins() {
        let line =
            Cmdline::parse(&format!("{} lab.gateway= lab.on-failure=halt", GOOD.trim())).unwrap();
        assert_eq!(line.address.unwrap().gateway, None);
        assert_eq!(line.on_failure, OnFailure::Halt);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to, says) in [
            ("lab.server=", "x=", "no lab.server="),
            ("lab.mac=52", "lab.mac=zz", "lab.mac="),
            ("lab.netmask=", "x=", "no lab.netmask="),
            ("lab.ip=192", "lab.ip=999", "lab.ip=999.168.105.100"),
            ("rdinit", "lab.on-failure=explode rdinit", "explode"),
        ] {
            let error = format!("{:#}", Cmdline::parse(&GOOD.replace(from, to)).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
