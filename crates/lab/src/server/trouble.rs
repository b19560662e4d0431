//! Why the server is not up, told as a target's failure is: the last place, the
//! usual cause, the line that shows it, the command to look further.

use super::boot_log;
use super::place::{Place, SERVICES};
use crate::diagnose::{self, Diagnosis, Line, Names, Saved, Source};
use crate::state::{LabPaths, VmPaths};
use crate::target::{WatchError, WatchKind};
use crate::vm;

/// How many of the console's last lines are looked at for a cause.
const LINES: usize = 300;

/// The server's failure of this kind. `told` is what a check said, if one did.
pub(super) fn failed(
    lab: &LabPaths,
    kind: WatchKind,
    place: Place,
    text: &str,
    told: &str,
) -> WatchError {
    let mut lines = diagnose::last_lines(&lab.vm("server").serial_log(), 0, LINES);
    lines.extend(by_host(told));
    let diagnosis = match kind {
        WatchKind::Gone => None,
        _ => diagnose::diagnose(place.id, &lines, names(lab)),
    };
    let vm = lab.vm("server");
    let log = vm.serial_log().display().to_string();
    let hint = is_final(kind.as_str(), place.id).then(|| {
        if vm::is_set_up(&vm) {
            "once the cause is removed: make down HALT=1, then make up boots it again"
        } else {
            "once the cause is removed: make up sets it up anew, with a new disk"
        }
    });
    WatchError::new(kind, place.id, text, diagnosis, hint, &log)
}

/// Whether a failure stays one for as long as the guest runs: cloud-init and
/// the console don't take back what they said, while a service that is asked
/// again may answer.
fn is_final(kind: &str, stage: &str) -> bool {
    kind == WatchKind::Failed.as_str() && stage != SERVICES.id
}

/// Whether the set-up of the server that was started at `started`, in
/// milliseconds since 1970, was seen to fail, so that waiting for it is in vain.
pub(crate) fn set_up_failed(vm: &VmPaths, started: u64) -> bool {
    Saved::read(vm)
        .is_some_and(|saved| saved.time >= started && is_final(&saved.kind, &saved.stage))
}

/// What usually keeps a server that runs from answering, for one who looks in
/// and did not follow it. `why` is what came instead of an answer.
pub(crate) fn silent(lab: &LabPaths, why: &str) -> Option<Diagnosis> {
    let vm = lab.vm("server");
    let mut lines = diagnose::last_lines(&vm.serial_log(), 0, LINES);
    lines.extend(by_host(why));
    let place = if vm::is_set_up(&vm) {
        SERVICES
    } else {
        boot_log::place_in(&vm.serial_log())
    };
    diagnose::diagnose(place.id, &lines, names(lab))
}

fn names(lab: &LabPaths) -> Names<'_> {
    Names {
        lab: lab.name(),
        vm: "server",
    }
}

fn by_host(text: &str) -> impl Iterator<Item = Line> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| Line::new(Source::Host, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::place;

    /// What is said of a server with this console, where `told` is a check's.
    fn said(place: Place, console: &str, told: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let lab = LabPaths::new(dir.path(), "lab").unwrap();
        let vm = lab.vm("server");
        fs_err::create_dir_all(vm.dir()).unwrap();
        fs_err::write(vm.serial_log(), console).unwrap();
        let error = failed(&lab, WatchKind::Failed, place, "it failed", told);
        assert_eq!(error.at, place.id);
        let diagnosis = error.diagnosis.unwrap();
        assert!(diagnosis.look.starts_with("make "), "{}", diagnosis.look);
        let by = diagnosis.shown_by.map_or("nothing".to_owned(), |line| {
            format!("{}: {}", line.source, line.text)
        });
        format!("{} by {by}", diagnosis.id)
    }

    #[test]
    fn a_server_that_does_not_boot() {
        let silent = said(place::POWER_ON, "", "");
        assert_eq!(silent, "server-firmware-silent by nothing");
        let rescue = "BdsDxe: starting Boot0001\r\nerror: no such device: x.\r\ngrub rescue> ";
        assert_eq!(
            said(place::FIRMWARE, rescue, ""),
            "server-grub-not-found by serial: grub rescue>"
        );
        let panic = "[    3.1] VFS: Unable to mount root fs on unknown-block(0,0)\r\n[    3.2] Kernel panic - not syncing: VFS\r\n";
        assert_eq!(
            said(place::KERNEL, panic, ""),
            "server-no-root by serial: [    3.2] Kernel panic - not syncing: VFS"
        );
        let memory = "[   60.1] Out of memory: Killed process 512 (apt-get)\r\n";
        assert!(said(place::PACKAGES, memory, "").starts_with("server-memory by serial"));
    }

    #[test]
    fn a_server_whose_set_up_fails() {
        let offline = "[  70.1] cloud-init[512]: Err:1 http://deb.debian.org/debian trixie InRelease\r\n  Temporary failure resolving 'deb.debian.org'\r\nFailure when attempting to install packages: ['nginx-light']\r\n";
        assert_eq!(
            said(place::CLOUD_INIT, offline, ""),
            "server-no-network by serial: Temporary failure resolving 'deb.debian.org'"
        );
        let package = "[  70.1] cloud-init[512]: E: Unable to locate package ngnix\r\n";
        assert!(said(place::PACKAGES, package, "").starts_with("server-no-package by serial"));
        let nginx = "nginx: [emerg] unknown directive \"sendfil\" in /etc/nginx/sites-enabled/lab:9\r\nnginx: configuration file /etc/nginx/nginx.conf test failed\r\n2026-11-25 - cc_scripts_user.py[WARNING]: Failed to run module scripts_user\r\n";
        assert_eq!(
            said(place::SET_UP, nginx, ""),
            "server-bad-configuration by serial: nginx: configuration file /etc/nginx/nginx.conf test failed"
        );
        let error = "cloud-init on the server ended as \"error - done\": ('scripts_user', x)";
        assert!(said(place::SET_UP, "", error).starts_with("server-set-up-failed by host"));
        assert_eq!(
            said(place::PACKAGES, "", ""),
            "server-set-up-failed by nothing"
        );
        let full = "dpkg: error: failed to write: No space left on device\r\nE: Sub-process /usr/bin/dpkg returned an error code (1)\r\n";
        assert!(said(place::PACKAGES, full, "").starts_with("server-disk-full by serial"));
        let content = "lab-content: no disk labelled CONTENT is attached\r\n";
        assert!(said(place::SET_UP, content, "").starts_with("server-no-content-disk by serial"));
    }

    #[test]
    fn a_set_up_that_failed_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let lab = LabPaths::new(dir.path(), "lab").unwrap();
        let vm = lab.vm("server");
        fs_err::create_dir_all(vm.dir()).unwrap();
        assert!(!set_up_failed(&vm, 0), "nothing is known");
        let of = |kind, place| {
            let error = failed(&lab, kind, place, "it failed", "");
            error.keep(&vm);
            (set_up_failed(&vm, 0), error.to_string())
        };
        let (over, told) = of(WatchKind::Failed, place::PACKAGES);
        assert!(over);
        assert!(told.contains("make up sets it up anew, with a new disk"));
        assert!(!set_up_failed(&vm, u64::MAX), "that was another start");
        // these may go well when they are looked at again
        for (kind, place) in [
            (WatchKind::Failed, place::SERVICES),
            (WatchKind::StandsStill, place::PACKAGES),
            (WatchKind::NoServer, place::SET_UP),
        ] {
            let (over, told) = of(kind, place);
            assert!(!over && !told.contains("anew"), "{kind:?}: {told}");
        }
    }

    #[test]
    fn a_service_that_does_not_serve() {
        let of = |told: &str| said(place::SERVICES, "", told);
        let down = "on server, `dhcp=x; …` failed (exit status: 1): tftpd-hpa is not active:\n○ tftpd-hpa.service - LSB: HPA's tftp server";
        assert!(of(down).starts_with("server-service-down by host"));
        let probed = |line: &str| {
            of(&format!(
                "the server's services don't serve the lab segment as they should\n  {line}\n    look: make x"
            ))
        };
        for (line, id) in [
            ("DHCP (firmware): no offer within 12 s", "server-no-dhcp"),
            (
                "DHCP (iPXE): 192.168.105.9 offers 192.168.105.7: a second DHCP server on the lab segment",
                "server-second-dhcp",
            ),
            (
                "TFTP ipxe.efi: error 1, \"File not found\"",
                "server-no-tftp",
            ),
            (
                "HTTP /healthz: status 502 (nginx is up, but bootd behind it does not answer)",
                "server-no-bootd",
            ),
            (
                "HTTP /healthz: the server refuses the connection",
                "server-no-http",
            ),
            (
                "HTTP /content/vmlinuz: status 404 (the file is not there)",
                "server-no-content-disk",
            ),
        ] {
            assert_eq!(probed(line), format!("{id} by host: {line}"));
        }
        // nginx down means that there is no content either, which is not the cause
        let nginx = "HTTP /healthz: the server refuses the connection\n  HTTP /content/vmlinuz: the server refuses the connection";
        assert!(probed(nginx).starts_with("server-no-http by host"));
    }

    #[test]
    fn a_server_that_answers_no_more_and_one_that_still_boots() {
        let dir = tempfile::tempdir().unwrap();
        let lab = LabPaths::new(dir.path(), "b").unwrap();
        let vm = lab.vm("server");
        fs_err::create_dir_all(vm.dir()).unwrap();
        fs_err::write(
            vm.serial_log(),
            "BdsDxe: starting Boot0001\r\nGNU GRUB\r\nLinux version 6.12\r\n",
        )
        .unwrap();
        let diagnosis = silent(&lab, "timeout: global").unwrap();
        assert_eq!(diagnosis.id, "server-no-root");
        assert!(diagnosis.look.contains("VM=server LAB=b"));
    }
}
