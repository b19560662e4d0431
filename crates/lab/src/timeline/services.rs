//! Which of the server's services don't run.

use super::show::clock;
use crate::diagnose::{Line, Source};
use crate::ssh;
use crate::state::LabPaths;

/// The units, and whose logs say what each does.
const UNITS: &[(&str, Source)] = &[
    ("isc-dhcp-server", Source::Dhcp),
    ("dnsmasq", Source::Dhcp),
    ("tftpd-hpa", Source::Tftp),
    ("nginx", Source::Nginx),
    ("bootd", Source::Bootd),
];

/// A service that doesn't run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Down {
    /// Since when, in milliseconds since 1970; none if it never ran.
    pub(super) since: Option<u64>,
    /// The same, for people.
    pub(crate) line: Line,
}

/// A command for the server's shell that prints what systemd knows of them.
pub(super) fn command() -> String {
    let units: Vec<&str> = UNITS.iter().map(|(unit, _)| *unit).collect();
    format!(
        "systemctl show --no-pager --timestamp=unix -p Id -p LoadState -p ActiveState -p StateChangeTimestamp {}",
        units.join(" ")
    )
}

/// Asks the server; none if it can't be asked.
pub(crate) fn down(lab: &LabPaths) -> Vec<Down> {
    ssh::on_server(lab, &command())
        .map(|text| read(&text))
        .unwrap_or_default()
}

/// Of what was printed: those that are there and don't run. One that starts
/// just now is not among them.
pub(super) fn read(text: &str) -> Vec<Down> {
    text.split("\n\n").filter_map(unit).collect()
}

fn unit(block: &str) -> Option<Down> {
    let of = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let (id, state) = (of("Id")?, of("ActiveState")?);
    let (_, source) = UNITS
        .iter()
        .find(|(unit, _)| id.strip_suffix(".service") == Some(unit))?;
    if of("LoadState") != Some("loaded") || !matches!(state, "inactive" | "failed") {
        return None;
    }
    let since = of("StateChangeTimestamp")
        .and_then(|time| time.strip_prefix('@')?.parse::<u64>().ok())
        .map(|seconds| seconds * 1000);
    let when = since.map_or(String::new(), |since| format!(" since {}", clock(since)));
    Some(Down {
        since,
        line: Line::new(*source, format!("{id} is {state}{when}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_and_does_not_run_is_told() {
        let text = "Id=isc-dhcp-server.service\nLoadState=loaded\nActiveState=inactive\nStateChangeTimestamp=@1795619495\n\n\
             Id=dnsmasq.service\nLoadState=not-found\nActiveState=inactive\nStateChangeTimestamp=\n\n\
             Id=tftpd-hpa.service\nLoadState=loaded\nActiveState=active\nStateChangeTimestamp=@1795619147\n\n\
             Id=nginx.service\nLoadState=loaded\nActiveState=activating\nStateChangeTimestamp=@1795619145\n\n\
             Id=bootd.service\nLoadState=loaded\nActiveState=failed\nStateChangeTimestamp=\n";
        let told: Vec<_> = read(text)
            .into_iter()
            .map(|down| format!("{:?} {}: {}", down.since, down.line.source, down.line.text))
            .collect();
        assert_eq!(
            told,
            [
                "Some(1795619495000) dhcp: isc-dhcp-server.service is inactive since 2026-11-25 15:11:35 UTC",
                "None bootd: bootd.service is failed",
            ]
        );
        assert!(read("systemctl: command not found").is_empty());
    }
}
