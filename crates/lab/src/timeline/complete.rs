//! What others know of a machine: bootd's events and the server's logs.

use protocol::Mac;

use super::{Entry, Timeline, logs};
use crate::ssh;
use crate::state::LabPaths;
use crate::target::Bootd;

/// How many pages of events are asked for at most; bootd keeps no more.
const PAGES: usize = 10;

/// Adds bootd's events of the machine after number `since`; as many as it
/// gives while it answers.
pub(crate) fn from_bootd(timeline: &mut Timeline, bootd: &Bootd, mac: Mac, since: u64) {
    let mut since = since;
    for _ in 0..PAGES {
        let Ok(page) = bootd.events(since, 0) else {
            return;
        };
        for event in page.events.iter().filter(|event| event.mac == Some(mac)) {
            timeline.add_event(event);
        }
        if page.events.is_empty() || page.next == since {
            return;
        }
        since = page.next;
    }
}

/// What DHCP, TFTP and web server have logged of the machine since then
/// (milliseconds since 1970), by one call of ssh.
pub(crate) fn from_server(lab: &LabPaths, mac: Mac, since: u64) -> anyhow::Result<Vec<Entry>> {
    let text = ssh::on_server(lab, &logs::script(since / 1000))?;
    Ok(logs::entries(&text, mac, since))
}
