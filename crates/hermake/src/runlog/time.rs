//! Times of day, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds of a span of time.
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since the epoch.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros)
}

/// Seconds since the epoch.
pub fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// `(year, month, day, hour, minute, second)` of seconds since the epoch.
pub fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Howard Hinnant's civil_from_days, for dates after 1970
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let doe = days % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let rest = seconds % 86_400;
    (
        year,
        month,
        doy - (153 * mp + 2) / 5 + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
    )
}

/// `20260131-235959`.
pub fn compact(seconds: u64) -> String {
    let (y, mo, d, h, mi, s) = civil(seconds);
    format!("{y:04}{mo:02}{d:02}-{h:02}{mi:02}{s:02}")
}

/// `2026-01-31 23:59:59`.
pub fn readable(seconds: u64) -> String {
    let (y, mo, d, h, mi, s) = civil(seconds);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// `850 ms`, `12.3 s`, `4 min 05 s`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::readable(0), "1970-01-01 00:00:00");
        assert_eq!(super::readable(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(super::readable(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(super::compact(1_767_225_599), "20251231-235959");
        assert_eq!(super::span(245_000), "4 min 05 s");
    }
}
