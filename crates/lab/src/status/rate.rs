//! How fast an image streams, and how long it will take.

use protocol::{Event, Mac, Stage};
use serde::Serialize;

use crate::target::Bootd;

/// Over how long the rate is measured, in milliseconds.
const WINDOW: u64 = 15_000;

/// How many pages of events are asked for at most.
const PAGES: usize = 5;

/// How fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Bytes of the compressed image a second.
    pub bytes_per_second: u64,
    /// Seconds until the end, at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

/// The rate at which the machine's image streams, by bootd's events.
pub(super) fn ask(bootd: &Bootd, mac: Mac, since: u64) -> Option<Rate> {
    let (mut since, mut events) = (since, Vec::new());
    for _ in 0..PAGES {
        let page = bootd.events(since, 0).ok()?;
        let last = page.next == since || page.events.is_empty();
        since = page.next;
        events.extend(page.events.into_iter().filter(|e| e.mac == Some(mac)));
        if last {
            break;
        }
    }
    of(&events)
}

/// By the last events with progress.
fn of(events: &[Event]) -> Option<Rate> {
    // an older installation's are no measure of this one
    let begin = events.iter().rposition(|event| event.stage == Stage::Plan);
    let mut steps = events[begin.unwrap_or(0)..]
        .iter()
        .filter_map(|event| Some((event.time, event.progress?)));
    let (end, last) = steps.clone().next_back()?;
    let (begin, first) = steps.find(|(time, _)| time + WINDOW >= end)?;
    let elapsed = end.checked_sub(begin).filter(|elapsed| *elapsed > 0)?;
    let bytes = last.done.checked_sub(first.done)?;
    let bytes_per_second = bytes.saturating_mul(1000) / elapsed;
    let left = last.total.map(|total| total.saturating_sub(last.done));
    Some(Rate {
        bytes_per_second,
        seconds_left: left
            .filter(|_| bytes_per_second > 0)
            .map(|left| left.div_ceil(bytes_per_second)),
    })
}

#[cfg(test)]
mod tests {
    use protocol::Progress;

    use super::*;

    fn event(time: u64, stage: Stage, done: Option<u64>) -> Event {
        Event {
            seq: time,
            time,
            machine: None,
            mac: None,
            stage,
            state: None,
            message: None,
            progress: done.map(|mib| Progress {
                done: mib << 20,
                total: Some(200 << 20),
            }),
            detail: None,
        }
    }

    #[test]
    fn the_last_seconds_of_this_installation_count() {
        let mut events = vec![
            event(0, Stage::Streaming, Some(150)),
            event(500, Stage::Plan, None),
            event(1000, Stage::Streaming, Some(0)),
        ];
        assert_eq!(of(&events), None, "one is no rate");
        events.push(event(11_000, Stage::Streaming, Some(10)));
        events.push(event(21_000, Stage::Streaming, Some(60)));
        let rate = of(&events).unwrap();
        assert_eq!(rate.bytes_per_second, 5 << 20);
        assert_eq!(rate.seconds_left, Some(28));
        events.push(event(40_000, Stage::Streaming, Some(60)));
        assert_eq!(of(&events), None, "nothing moved lately");
    }
}
