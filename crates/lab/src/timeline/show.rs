//! The timeline for people.

use std::fmt::Write as _;

use super::Entry;

/// All of it, a line each; times are from when the machine was last switched on.
pub(super) fn table(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut begin = None;
    for entry in entries {
        let power_on = matches!(entry.stage.as_deref(), Some("power-on" | "resumed"));
        if power_on || begin.is_none() {
            let _ = writeln!(text, "{}", clock(entry.time));
            begin = Some(entry.time);
        }
        let since = entry.time.saturating_sub(begin.unwrap_or(entry.time));
        let line = format!(
            "{:>6}.{} s  {:6}  {:12}  {}",
            since / 1000,
            since % 1000 / 100,
            entry.source,
            entry.stage.as_deref().unwrap_or_default(),
            entry.text
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A time of day: `2026-11-25 09:46:07 UTC`.
pub(crate) fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // the inverse of the days that logs.rs counts: eras of 400 years from March 0000
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        era * 400 + year + next,
        of_day / 3600,
        of_day % 3600 / 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Line, Source};

    #[test]
    fn what_people_see() {
        let at = |seconds: u64| (1_790_000_000 + seconds) * 1000;
        let entries = [
            Entry::host(at(0), Some("power-on"), "powered on"),
            Entry::serial(at(6), Some("network-boot"), ">>Start PXE over IPv4.", 1, 90),
            Entry::log(
                at(7) + 250,
                Line::new(Source::Dhcp, "DHCPOFFER on 192.168.105.100"),
            ),
            Entry::host(at(3600), Some("power-on"), "powered on"),
            Entry::host(at(3601), Some("ready"), "ready"),
        ];
        insta::assert_snapshot!(table(&entries));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(clock(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(clock(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(clock(1_795_599_967_000), "2026-11-25 09:46:07 UTC");
    }
}
