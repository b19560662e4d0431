//! Bringing a target up: deciding whether its disk is good, starting it,
//! following it.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use protocol::{Mac, MachineState, MachineStatus};

use super::bootd::Bootd;
use super::point::Point;
use super::provision::Provision;
use super::say::Say;
use super::stand::stand;
use super::times::milliseconds;
use super::watch::{Watch, follow};
use crate::config::Resolved;
use crate::diagnose::Saved;
use crate::fsutil;
use crate::ssh;
use crate::state::{LabPaths, VmLock, VmPaths};
use crate::timeline::{self, Entry, Timeline};
use crate::vm::{self, DiskRecord, Forwards, Options, Started, State};
use crate::wake::wake;

/// What has to be done with the disk before the machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// It is what bootd thinks it is.
    Keep,
    /// It belongs to another installation: begin with an empty one.
    Discard(&'static str),
    /// The same, and bootd has to forget what it thinks.
    Reprovision(&'static str),
}

/// Decides by what bootd thinks of the machine and what the host knows of its
/// disk.
fn judge(machine: &MachineStatus, held: Option<&Provision>, disk: bool) -> Disk {
    let on_disk = matches!(machine.state, MachineState::Installed | MachineState::Ready);
    let same = held.is_some_and(|held| held.instance_id == machine.instance_id);
    match (machine.state, disk, same) {
        (MachineState::Failed, ..) => Disk::Reprovision("its last installation failed"),
        (_, false, _) if on_disk => Disk::Reprovision("its disk is gone"),
        (_, false, _) | (_, true, true) => Disk::Keep,
        (_, true, false) if on_disk => Disk::Reprovision("its disk holds another installation"),
        (_, true, false) => {
            Disk::Discard("its disk holds an installation that the server knows nothing of")
        }
    }
}

/// Makes the target run from a disk that is what bootd thinks it is: one of
/// another installation is thrown away, and bootd told if it has to know.
pub fn start(
    lab: &LabPaths,
    name: &str,
    options: &Options,
    out: impl Write,
) -> anyhow::Result<Started> {
    let mut say = Say::new(out, name);
    Ok(prepare(lab, name, options, &mut say)?.started)
}

struct Prepared {
    mac: Mac,
    bootd: Bootd,
    machine: MachineStatus,
    provision: Provision,
    started: Started,
    /// The last of bootd's events before it said where the machine is.
    seen: u64,
}

fn prepare<W: Write>(
    lab: &LabPaths,
    name: &str,
    options: &Options,
    say: &mut Say<W>,
) -> anyhow::Result<Prepared> {
    let mac = Resolved::new(lab.config()).target(name)?.mac;
    let bootd = Bootd::new(&server(lab)?);
    let vm = lab.vm(name);
    let seen = bootd.events(u64::MAX, 0)?.next;
    let mut machine = known(&bootd, mac, name)?;
    {
        let _lock = VmLock::take(&vm)?;
        vm::discard_torn(&vm, name, &options.host)?;
    }
    let mut held = Provision::read(&vm);
    match judge(&machine, held.as_ref(), DiskRecord::read(&vm).is_some()) {
        Disk::Keep => {}
        Disk::Discard(why) => {
            say.stage(&format!("installs anew: {why}"));
            wipe(lab, name)?;
        }
        Disk::Reprovision(why) => {
            say.stage(&format!("installs anew: {why}"));
            machine = start_over(lab, &bootd, mac, name)?;
        }
    }
    if let Some(at) = stuck(&vm, &machine)? {
        say.stage(&format!("starts again: it was stuck after `{at}`"));
        // nothing is on its disk yet, so there is nothing to shut down properly
        vm::stop(&vm, Duration::ZERO)?;
        Saved::forget(&vm);
    }
    let next = Provision {
        instance_id: machine.instance_id.clone(),
        since: bootd.events(u64::MAX, 0)?.next,
        installed: machine.state == MachineState::Ready,
    };
    // Before the disk exists: one without this note would be thrown away.
    if held
        .as_ref()
        .is_none_or(|held| held.instance_id != next.instance_id)
    {
        next.write(&vm)?;
        held = None;
    }
    let started = vm::start_target(lab, name, options)?;
    let provision = match held {
        Some(held) if matches!(started, Started::Already(_)) => held,
        _ => {
            next.write(&vm)?;
            next
        }
    };
    Ok(Prepared {
        mac,
        bootd,
        machine,
        provision,
        started,
        seen,
    })
}

/// Brings the target up and follows it until it is ready.
pub(super) fn up(
    lab: &LabPaths,
    name: &str,
    options: &Options,
    mut say: Say<impl Write>,
) -> anyhow::Result<()> {
    let vm = lab.vm(name);
    let Prepared {
        mac,
        bootd,
        machine,
        provision,
        started,
        seen,
    } = prepare(lab, name, options, &mut say)?;
    if started.record().resumed && machine.state == MachineState::Ready {
        wake(lab, name)?;
        let what = "goes on from where it was suspended";
        say.stage(what);
        let at = started.record().started;
        Timeline::open(&vm).add([Entry::host(at, Some("resumed"), what)]);
        return note_ready(&vm);
    }
    let fresh = matches!(started, Started::Fresh { .. });
    if !fresh && !provision.installed && machine.state == MachineState::Ready {
        say.stage(Point::Ready.about().title);
        return note_ready(&vm);
    }
    Saved::forget(&vm);
    say.stage(Point::PowerOn.about().title);
    // From the VM's start on, whoever started it: stages that have passed are
    // told too, so that a second `up` shows the same as the first.
    let watch = Watch {
        lab,
        vm: &vm,
        name,
        mac,
        bootd: &bootd,
        since: provision.since,
        seen,
        installed: provision.installed,
        started: started.record().started,
    };
    follow(&watch, &mut say).inspect_err(|error| error.keep(&vm))?;
    note_address(lab, &vm, mac);
    note_ready(&vm)
}

/// The last stage of a machine that runs and was given up there the last time,
/// and of which nothing is on the disk yet. Firmware that found no server gives
/// up for good: that the cause was removed since, it doesn't notice.
fn stuck(vm: &VmPaths, machine: &MachineStatus) -> anyhow::Result<Option<&'static str>> {
    let (Some(saved), Some(record)) = (Saved::read(vm), State::of(vm)?.running()) else {
        return Ok(None);
    };
    let now = milliseconds(SystemTime::now());
    let at = stand(vm, Some(machine), record.started, now).at;
    let same = at < Point::Plan && saved.stage == at.about().id && saved.time >= record.started;
    Ok(same.then_some(at.about().title))
}

/// Says on disk that the machine was seen ready; the same every time, so that a
/// machine that was installed anew since does not count as changed.
fn note_ready(vm: &VmPaths) -> anyhow::Result<()> {
    Saved::forget(vm);
    fsutil::write_if_changed(&vm.ready(), b"ready\n", 0o644).map(drop)
}

/// Has bootd forget the machine's installation and the host its disk.
pub(super) fn start_over(
    lab: &LabPaths,
    bootd: &Bootd,
    mac: Mac,
    name: &str,
) -> anyhow::Result<MachineStatus> {
    wipe(lab, name)?;
    let path = format!(
        "http://127.0.0.1:8081/machines/{}/reprovision",
        mac.hexhyp()
    );
    ssh::on_server(lab, &post(&path))
        .with_context(|| format!("cannot tell the server to install {name} anew"))?;
    known(bootd, mac, name)
}

/// A POST by whichever program the server's system has.
fn post(url: &str) -> String {
    format!(
        "if command -v curl >/dev/null; then curl -fsS -X POST {url}; \
         else python3 -c 'import urllib.request as r; r.urlopen(r.Request(\"{url}\", method=\"POST\"), timeout=20)'; fi"
    )
}

/// Stops the VM and deletes its disk and what goes with it.
fn wipe(lab: &LabPaths, name: &str) -> anyhow::Result<()> {
    let vm = lab.vm(name);
    // Its disk is thrown away, so there is nothing to shut down properly.
    vm::stop(&vm, Duration::ZERO)?;
    vm::discard(&vm)?;
    timeline::begin_anew(&vm);
    for path in [
        ssh::known_hosts(lab, name),
        vm.dir().join("address"),
        vm.ready(),
    ] {
        fsutil::remove_if_there(path)?;
    }
    Ok(())
}

fn server(lab: &LabPaths) -> anyhow::Result<Forwards> {
    match State::of(&lab.vm("server"))? {
        State::Running(record) => record
            .forwards
            .context("the server's start was interrupted: `lab vm stop server`, then start it"),
        State::Died(_) => bail!("the server died; `make up` starts it again"),
        State::Held(_) => bail!("the server is being suspended; `make up` resumes it"),
        State::Stopped => bail!("the server does not run; `make up` starts it"),
    }
}

fn known(bootd: &Bootd, mac: Mac, name: &str) -> anyhow::Result<MachineStatus> {
    bootd.machine(mac)?.with_context(|| {
        format!(
            "the server's site does not list {name} ({mac}); `make up` pushes the one of lab.toml"
        )
    })
}

/// Keeps the machine's address for `lab status`, which asks nobody. That it
/// can't be found is no failure of the machine's.
fn note_address(lab: &LabPaths, vm: &VmPaths, mac: Mac) {
    if let Ok(Some(address)) = ssh::address_of(lab, mac) {
        let _ =
            crate::fsutil::write_atomically(&vm.dir().join("address"), address.as_bytes(), 0o644);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(state: MachineState) -> MachineStatus {
        MachineStatus {
            name: "t".to_owned(),
            mac: "52:54:00:4c:42:01".parse().unwrap(),
            hostname: "t".to_owned(),
            state,
            stage: None,
            time: None,
            message: None,
            progress: None,
            template_error: None,
            instance_id: "t-1".to_owned(),
        }
    }

    #[test]
    fn a_disk_is_kept_only_if_it_is_what_bootd_thinks() {
        use MachineState::{Failed, Install, Installed, Installing, Ready};
        let same = Provision {
            instance_id: "t-1".to_owned(),
            since: 0,
            installed: false,
        };
        let other = Provision {
            instance_id: "t-0".to_owned(),
            since: 0,
            installed: false,
        };
        let of = |state, held: Option<&Provision>, disk| judge(&machine(state), held, disk);
        for state in [Install, Installing, Installed, Ready] {
            assert_eq!(of(state, Some(&same), true), Disk::Keep, "{state}");
        }
        for state in [Install, Installing] {
            assert_eq!(
                of(state, None, false),
                Disk::Keep,
                "{state}: nothing there yet"
            );
            assert!(
                matches!(of(state, Some(&other), true), Disk::Discard(_)),
                "{state}"
            );
            assert!(matches!(of(state, None, true), Disk::Discard(_)), "{state}");
        }
        for state in [Installed, Ready] {
            assert!(
                matches!(of(state, Some(&same), false), Disk::Reprovision(_)),
                "{state}"
            );
            assert!(
                matches!(of(state, Some(&other), true), Disk::Reprovision(_)),
                "{state}"
            );
        }
        assert!(matches!(
            of(Failed, Some(&same), true),
            Disk::Reprovision(_)
        ));
    }
}
