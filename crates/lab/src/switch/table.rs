//! Which address is behind which port.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An Ethernet address.
pub(super) type Address = [u8; 6];

/// How long an address is believed after it was last heard: IEEE 802.1D-2004,
/// table 7-5.
pub(super) const AGE: Duration = Duration::from_secs(300);

/// How many addresses one port may have, so that none can crowd out the others.
pub(super) const PER_PORT: usize = 64;

#[derive(Debug)]
struct Entry {
    port: usize,
    heard: Instant,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < AGE
    }
}

/// Addresses that were heard as senders.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Address, Entry>,
}

impl Table {
    /// Notes that `address` sends from `port`. Where there is no room for it,
    /// frames to it go to every port, as before.
    pub(super) fn learn(&mut self, address: Address, port: usize, now: Instant) {
        if is_group(address) {
            return;
        }
        let entry = Entry { port, heard: now };
        let known = self
            .entries
            .get(&address)
            .is_some_and(|entry| entry.port == port);
        if !known && self.count(port) >= PER_PORT {
            self.entries.retain(|_, entry| entry.is_fresh(now));
            if self.count(port) >= PER_PORT {
                return;
            }
        }
        self.entries.insert(address, entry);
    }

    /// The port to which frames for `address` go; none if that isn't known, or
    /// if they are for many.
    pub(super) fn find(&self, address: Address, now: Instant) -> Option<usize> {
        let entry = self.entries.get(&address)?;
        entry.is_fresh(now).then_some(entry.port)
    }

    /// Forgets whoever was behind `port`.
    pub(super) fn forget(&mut self, port: usize) {
        self.entries.retain(|_, entry| entry.port != port);
    }

    fn count(&self, port: usize) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.port == port)
            .count()
    }
}

/// Whether an address means many machines (IEEE 802-2014, section 8.2.2).
fn is_group(address: Address) -> bool {
    address[0] & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = [2, 0, 0, 0, 0, 1];

    #[test]
    fn addresses_are_learned_move_age_and_are_forgotten() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert_eq!(table.find(A, now), None);
        table.learn(A, 3, now);
        assert_eq!(table.find(A, now), Some(3));
        table.learn(A, 4, now);
        assert_eq!(table.find(A, now), Some(4));
        let later = now + AGE / 2;
        assert_eq!(table.find(A, later), Some(4));
        table.learn(A, 4, later);
        assert_eq!(table.find(A, now + AGE), Some(4));
        assert_eq!(table.find(A, later + AGE), None);
        table.learn(A, 4, now);
        table.forget(3);
        assert_eq!(table.find(A, now), Some(4));
        table.forget(4);
        assert_eq!(table.find(A, now), None);
    }

    #[test]
    fn nobody_sends_as_a_group() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.learn([0xff; 6], 1, now);
        table.learn([0x33, 0x33, 0, 0, 0, 1], 1, now);
        assert!(table.entries.is_empty());
    }

    #[test]
    fn a_port_with_many_addresses_takes_no_room_from_the_others() {
        let (mut table, now) = (Table::default(), Instant::now());
        let address = |n: usize| {
            let [.., high, low] = n.to_be_bytes();
            [2, 0, 0, 1, high, low]
        };
        for n in 0..1000 {
            table.learn(address(n), 1, now);
        }
        assert_eq!(table.entries.len(), PER_PORT);
        assert_eq!(table.find(address(0), now), Some(1));
        assert_eq!(table.find(address(999), now), None);
        table.learn(A, 2, now);
        assert_eq!(table.find(A, now), Some(2));
        // one that moves to the full port is not believed to be where it was
        table.learn(A, 1, now);
        assert_eq!(table.entries.len(), PER_PORT + 1);
        // what is old makes room
        table.learn(address(999), 1, now + AGE);
        assert_eq!(table.find(address(999), now + AGE), Some(1));
        assert_eq!(table.entries.len(), 1);
    }
}
