//! What the logs of the server's services say of one machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use protocol::Mac;

use super::{Entry, services};
use crate::diagnose::{Line, Source};

/// A script for the server's shell that prints the ends of all the logs, from
/// `since` (seconds since 1970) on. What the host asks all the time is left out.
pub(super) fn script(since: u64) -> String {
    format!(
        "j() {{ sudo journalctl --no-pager -q -o short-unix --since @{since} \"$@\" | tail -n 500; }}; \
         echo ==dhcp; j -u isc-dhcp-server -u dnsmasq; \
         echo ==tftp; j -u tftpd-hpa; \
         echo ==nginx; sudo grep -vE '\"GET /(events|machines|healthz)' /var/log/nginx/access.log | tail -n 500; \
         echo ==errors; sudo tail -n 100 /var/log/nginx/error.log; \
         echo ==services; {}; true",
        services::command()
    )
}

/// What the printed logs say of the machine, from `since` (milliseconds since
/// 1970) on.
pub(super) fn entries(text: &str, mac: Mac, since: u64) -> Vec<Entry> {
    let mut addresses = BTreeSet::new();
    let (text, states) = text.split_once("==services\n").unwrap_or((text, ""));
    let mut found = Vec::new();
    let mut part = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("==") {
            part = name;
            continue;
        }
        let entry = match part {
            "dhcp" => dhcp(line, mac, &mut addresses),
            "tftp" => tftp(line, &addresses),
            "nginx" => access(line, mac, &addresses),
            "errors" => error(line, &addresses),
            _ => None,
        };
        found.extend(entry.filter(|entry| entry.time >= since));
    }
    // one that stopped before is down all the same
    found.extend(services::read(states).into_iter().map(|down| {
        let time = down.since.unwrap_or(since).max(since);
        Entry::log(time, down.line)
    }));
    found
}

fn dhcp(line: &str, mac: Mac, addresses: &mut BTreeSet<String>) -> Option<Entry> {
    let (time, text) = journal(line)?;
    if text.contains(&mac.to_string()) {
        if text.contains("DHCPOFFER") || text.contains("DHCPACK") {
            addresses.extend(text.split_whitespace().find_map(|word| {
                let address: Ipv4Addr = word.parse().ok()?;
                Some(address.to_string())
            }));
        }
    } else if !text.contains("onfigured to listen") {
        return None;
    }
    Some(Entry::log(time, Line::new(Source::Dhcp, text)))
}

fn tftp(line: &str, addresses: &BTreeSet<String>) -> Option<Entry> {
    let (time, text) = journal(line)?;
    let ours = text
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .any(|word| addresses.contains(word));
    ours.then(|| Entry::log(time, Line::new(Source::Tftp, text)))
}

/// `192.168.105.100 - - [25/Nov/2026:09:46:07 +0000] "GET /x HTTP/1.1" 200 12 "-" "iPXE"`
/// becomes `200 GET /x (12 bytes)`.
fn access(line: &str, mac: Mac, addresses: &BTreeSet<String>) -> Option<Entry> {
    let (client, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once('[')?;
    let (date, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    if !addresses.contains(client) && !request.contains(&mac.hexhyp()) {
        return None;
    }
    let request = request.rsplit_once(" HTTP/").map_or(request, |(r, _)| r);
    let mut words = rest.split(' ');
    let (status, bytes) = (words.next()?, words.next()?);
    let text = format!("{status} {request} ({bytes} bytes)");
    Some(Entry::log(
        access_time(date)?,
        Line::new(Source::Nginx, text),
    ))
}

/// `2026/11/25 09:46:07 [error] 12#12: *1 open() "…" failed (…), client: 192.168.105.100, …`
fn error(line: &str, addresses: &BTreeSet<String>) -> Option<Entry> {
    let client = line.split("client: ").nth(1)?.split(',').next()?;
    if !addresses.contains(client) {
        return None;
    }
    let mut words = line.splitn(3, ' ');
    let (date, clock, rest) = (words.next()?, words.next()?, words.next()?);
    let date: Vec<u64> = date.split('/').filter_map(|n| n.parse().ok()).collect();
    let [year, month, day] = date[..] else {
        return None;
    };
    let time = (days(year, month, day)? * 86_400 + seconds(clock)?) * 1000;
    let text = format!(
        "error: {}",
        rest.split_once(": ").map_or(rest, |(_, r)| r).trim()
    );
    Some(Entry::log(time, Line::new(Source::Nginx, text)))
}

/// A line of `journalctl -o short-unix`: `1763000000.123456 server dhcpd[41]: text`.
fn journal(line: &str) -> Option<(u64, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let millis: u64 = micros.get(..3)?.parse().ok()?;
    let (_, text) = rest.split_once(": ")?;
    Some((seconds * 1000 + millis, text))
}

/// `25/Nov/2026:09:46:07 +0000`; the server's clock is UTC.
fn access_time(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (date, clock) = text.split_once(':')?;
    let parts: Vec<&str> = date.split('/').collect();
    let [day, month, year] = parts[..] else {
        return None;
    };
    let month = MONTHS.find(month)? as u64 / 3 + 1;
    let clock = clock.split(' ').next()?;
    let days = days(year.parse().ok()?, month, day.parse().ok()?)?;
    Some((days * 86_400 + seconds(clock)?) * 1000)
}

fn seconds(clock: &str) -> Option<u64> {
    let parts: Vec<u64> = clock.split(':').filter_map(|n| n.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else {
        return None;
    };
    Some(hours * 3600 + minutes * 60 + seconds)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // years that begin in March, so that the leap day is their last
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    // the same sum for 1970-01-01
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGS: &str = r#"==dhcp
1790000001.250000 server dhcpd[41]: DHCPDISCOVER from 52:54:00:4c:42:01 via lab0
1790000002.500000 server dhcpd[41]: DHCPOFFER on 192.168.105.100 to 52:54:00:4c:42:01 via lab0
1790000002.600000 server dhcpd[41]: DHCPOFFER on 192.168.105.101 to 52:54:00:4c:42:02 via lab0
1790000003.000000 server dhcpd[41]: Server starting service.
==tftp
1790000004.000000 server in.tftpd[88]: RRQ from 192.168.105.100 filename ipxe.efi
1790000004.000000 server in.tftpd[88]: RRQ from 192.168.105.10 filename other.efi
1790000004.100000 server in.tftpd[88]: sending NAK (1, File not found) to 192.168.105.100
==nginx
192.168.105.100 - - [21/Sep/2026:14:13:26 +0000] "GET /content/vmlinuz HTTP/1.1" 404 153 "-" "iPXE/1.21.1+"
10.0.2.2 - - [21/Sep/2026:14:13:26 +0000] "GET / HTTP/1.1" 200 3 "-" "curl"
==errors
2026/09/21 14:13:26 [error] 12#12: *7 open() "/srv/content/vmlinuz" failed (2: No such file or directory), client: 192.168.105.100, server: _
garbage
"#;

    #[test]
    fn only_what_is_of_the_machine_is_taken() {
        let mac = "52:54:00:4c:42:01".parse().unwrap();
        let shown: Vec<_> = entries(LOGS, mac, 1_790_000_000_000)
            .into_iter()
            .map(|entry| format!("{} {} {}", entry.time, entry.source, entry.text))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
        assert!(entries(LOGS, mac, 1_790_000_100_000).is_empty());
    }

    /// Its quoting, by a real shell with other programs for the server's.
    #[test]
    fn the_script_is_one_that_a_shell_runs() {
        let dir = tempfile::tempdir().unwrap();
        let access = dir.path().join("access.log");
        let ours = LOGS.lines().find(|line| line.contains("vmlinuz")).unwrap();
        let host = "10.0.2.2 - - [x] \"GET /events?since=1 HTTP/1.1\" 200 1\n";
        fs_err::write(&access, format!("{host}{ours}\n")).unwrap();
        let script = script(7)
            .replace("sudo ", "")
            .replace("journalctl", "echo")
            .replace("systemctl", "true")
            .replace("/var/log/nginx", dir.path().to_str().unwrap());
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!(
                "==dhcp\n--no-pager -q -o short-unix --since @7 -u isc-dhcp-server -u dnsmasq\n\
                 ==tftp\n--no-pager -q -o short-unix --since @7 -u tftpd-hpa\n\
                 ==nginx\n{ours}\n==errors\n==services\n"
            )
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2026, 11, 25), Some(20_782));
        assert_eq!(access_time("01/Jan/1970:00:00:01 +0000"), Some(1000));
        assert_eq!(access_time("nonsense"), None);
    }
}
