//! A machine's Ethernet address, which is its name on the lab segment.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// An Ethernet address of one machine.
///
/// It is read with colons or hyphens and in either case, and shown in lower
/// case with colons. Addresses that no machine can have (multicast, all zero)
/// are refused, so that they can't reach a file name or a script.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Why a text is not the address of a machine.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not the MAC address of a machine: {why}")]
pub struct InvalidMac {
    text: String,
    why: &'static str,
}

impl Mac {
    /// The address with hyphens, as iPXE's `${mac:hexhyp}` writes it; used in URLs and file names.
    pub fn hexhyp(self) -> String {
        self.join("-")
    }

    /// The six bytes, in the order of transmission.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    fn join(self, separator: &str) -> String {
        self.0.map(|byte| format!("{byte:02x}")).join(separator)
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidMac {
            // what comes from the network may be long: quote no more than an address's worth
            text: text.chars().take(32).collect(),
            why,
        };
        let separator = match text.as_bytes().get(2) {
            Some(b':') => ':',
            Some(b'-') => '-',
            _ => return Err(invalid("write it as 52:54:00:12:34:56")),
        };
        let mut bytes = [0u8; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(|| invalid("it needs six parts"))?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(invalid("each part is two hexadecimal digits"));
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid("not hexadecimal"))?;
        }
        if parts.next().is_some() {
            return Err(invalid("it has more than six parts"));
        }
        if bytes[0] & 1 == 1 {
            return Err(invalid("it is a multicast address"));
        }
        if bytes == [0; 6] {
            return Err(invalid("it is all zero"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_colons_hyphens_and_either_case() {
        for text in [
            "52:54:00:4c:42:0a",
            "52-54-00-4C-42-0A",
            "52:54:00:4C:42:0A",
        ] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(mac.to_string(), "52:54:00:4c:42:0a");
            assert_eq!(mac.hexhyp(), "52-54-00-4c-42-0a");
        }
    }

    #[test]
    fn refuses_what_no_machine_has() {
        for text in [
            "",
            "52",
            "52:54:00:4c:42",
            "52:54:00:4c:42:01:02",
            "52:54-00:4c:42:01",
            "52:54:00:4c:42:0g",
            "52:54:00:4c:42:+1",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "../../../../etc",
            "525400 4c4201",
            "5é:54:00:4c:42:01",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_round_trips(text in ".{0,40}") {
            if let Ok(mac) = text.parse::<Mac>() {
                prop_assert_eq!(mac.to_string(), text.to_lowercase().replace('-', ":"));
            }
        }

        #[test]
        fn shown_addresses_are_read_back(bytes: [u8; 6]) {
            prop_assume!(bytes[0] & 1 == 0 && bytes != [0; 6]);
            let mac = Mac(bytes);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
            prop_assert_eq!(mac.hexhyp().parse::<Mac>(), Ok(mac));
        }
    }
}
