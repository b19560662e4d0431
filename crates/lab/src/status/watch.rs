//! `lab watch`: the status again and again, until everything is ready.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::look::{Status, look};
use super::{now, print, show};
use crate::capture;
use crate::state::LabArgs;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of `lab watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    #[command(flatten)]
    lab: LabArgs,
}

/// Shows where everything stands until all is ready. On a terminal the table
/// stays in place; elsewhere each change is a line.
pub fn watch(args: &WatchArgs) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let terminal = std::io::stdout().is_terminal();
    let mut changes = Changes::default();
    loop {
        let status = look(&lab)?;
        if terminal {
            let table = show::table(&status, now()) + &show::troubles(&status);
            // home, and clear what is left of the one before: no flicker
            print(&format!("\u{1b}[H\u{1b}[J{table}"))?;
        } else {
            print(&changes.of(&status))?;
        }
        if status.exit == 0 {
            return Ok(());
        }
        capture::bound(&lab);
        std::thread::sleep(PAUSE);
    }
}

/// What was shown of each VM last, without what grows by itself.
#[derive(Debug, Default)]
struct Changes(HashMap<String, String>);

impl Changes {
    /// A line for each VM that has moved.
    fn of(&mut self, status: &Status) -> String {
        let mut text = String::new();
        for vm in &status.vms {
            let mut line = format!("{}: {}, {}\n", vm.name, vm.state, show::stands(vm));
            let mut known = line.clone();
            if let Some(trouble) = &vm.trouble {
                // how long it stands still grows; that alone is no news
                known.extend(trouble.chars().filter(|c| !c.is_ascii_digit()));
                let _ = writeln!(line, "{}: {trouble}", vm.name);
                if let Some(diagnosis) = &vm.diagnosis {
                    known.push_str(&diagnosis.id);
                    let _ = writeln!(line, "{diagnosis}");
                }
            }
            if self.0.get(&vm.name) != Some(&known) {
                text.push_str(&line);
                self.0.insert(vm.name.clone(), known);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::VmStatus;
    use super::*;

    #[test]
    fn only_what_changed_is_a_line() {
        let status = |stage| Status {
            lab: "lab".to_owned(),
            exit: 3,
            vms: vec![
                VmStatus {
                    name: "server".to_owned(),
                    state: "running",
                    answers: Some(true),
                    ..VmStatus::default()
                },
                VmStatus {
                    name: "target1".to_owned(),
                    state: "running",
                    stage: Some(stage),
                    ..VmStatus::default()
                },
            ],
        };
        let mut changes = Changes::default();
        assert_eq!(
            changes.of(&status("firmware")),
            "server: running, ready\ntarget1: running, firmware\n"
        );
        assert_eq!(changes.of(&status("firmware")), "");
        assert_eq!(changes.of(&status("ipxe")), "target1: running, ipxe\n");
        let mut troubled = |trouble: &str| {
            let mut status = status("ipxe");
            status.vms[1].trouble = Some(trouble.to_owned());
            changes.of(&status)
        };
        assert_eq!(
            troubled("12 s ago; since then no script, for 3 s"),
            "target1: running, ipxe\ntarget1: 12 s ago; since then no script, for 3 s\n"
        );
        assert_eq!(troubled("99 s ago; since then no script, for 90 s"), "");
        assert!(troubled("99 s ago; since then no kernel").contains("no kernel"));
    }
}
