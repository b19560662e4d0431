//! Finding out where everything stands.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{MachineState, MachineStatus, Progress, Stage};
use serde::Serialize;

use super::rate::{self, Rate};
use super::verdict;
use crate::config::Resolved;
use crate::diagnose::Diagnosis;
use crate::server;
use crate::state::LabPaths;
use crate::target::{self, Bootd, Provision, WatchKind};
use crate::vm::{Record, Saved, State};

/// How long bootd may take to answer; a server that still boots doesn't.
const ANSWER: Duration = Duration::from_millis(800);

/// The same for one that should have been up for long.
const BUSY: Duration = Duration::from_secs(4);

/// How long a server may take to boot, in milliseconds.
const BOOT: u64 = 600_000;

/// A lab.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub lab: String,
    /// 0 if all is up and ready; else the exit status of the first VM that
    /// isn't, as `docs/troubleshooting.md` lists them.
    pub exit: u8,
    /// Its VMs: the server first, then the targets by name.
    pub vms: Vec<VmStatus>,
}

/// A VM.
#[derive(Debug, Default, Serialize)]
pub struct VmStatus {
    /// Its name.
    pub name: String,
    /// `running`, `suspended`, `died`, `stopped` or `unknown`.
    pub state: &'static str,
    /// QEMU's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When it was started, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// Where it is reached: the host's side for the server, its address on the
    /// segment for a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port on the host that leads to its SSH server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<u16>,
    /// The port on the host that leads to its HTTP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<u16>,
    /// Of the server: whether nginx and bootd answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
    /// Of a target: what bootd knows of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Of a target that runs: the last point that it reached on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// How long ago that was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited: Option<u64>,
    /// Whether lab.toml lists it no more; then its `exit` is 0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// 0 if it is up and ready; else what `docs/troubleshooting.md` lists.
    pub exit: u8,
    /// Which kind of failure, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is wrong, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What usually causes that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// What its console said is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
}

/// What bootd knows of a target.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Its state.
    pub state: MachineState,
    /// The last stage it reached.
    pub stage: Option<Stage>,
    /// When, in milliseconds since 1970 by the server's clock.
    pub time: Option<u64>,
    /// How far that stage is.
    pub progress: Option<Progress>,
    /// How fast it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What came with it.
    pub message: Option<String>,
}

/// Looks at everything.
pub fn look(lab: &LabPaths) -> anyhow::Result<Status> {
    let config = Resolved::new(lab.config());
    let mut names: BTreeSet<String> = lab.vm_names()?.into_iter().collect();
    // Without a resolved configuration there are only the VMs' own folders.
    let listed = config.target_names().ok();
    names.extend(listed.iter().flatten().cloned());
    names.remove("server");
    let (first, record) = vm(lab, "server");
    let forwards = record.and_then(|record| record.forwards);
    let bootd = forwards.as_ref().map(Bootd::new);
    let is_young = first
        .started
        .is_some_and(|then| super::now().saturating_sub(then) <= BOOT);
    let machines = bootd.as_ref().map(|bootd| match bootd.machines(ANSWER) {
        // one that has been up may only be busy
        Err(_) if !is_young => bootd.machines(BUSY),
        answer => answer,
    });
    let answers = machines.as_ref().map(Result::is_ok);
    let mut vms = vec![VmStatus {
        answers,
        exit: verdict::NOT_UP,
        ..first
    }];
    if answers == Some(true) {
        // bootd may answer while another service failed its check
        if !verdict::recall(lab, &mut vms[0]) {
            vms[0].exit = verdict::READY;
        }
    } else if vms[0].state == "died" {
        verdict::fail(&mut vms[0], WatchKind::Gone, None);
    }
    let machines = match machines {
        Some(Ok(machines)) => machines,
        Some(Err(error)) => {
            // While it boots, silence is no trouble.
            if !verdict::recall(lab, &mut vms[0]) && !is_young {
                let text = format!(
                    "it is down, or too busy to answer within {} s ({error})",
                    BUSY.as_secs()
                );
                vms[0].diagnosis = server::silent(lab, &text);
                verdict::fail(&mut vms[0], WatchKind::NoServer, Some(text));
            }
            Vec::new()
        }
        None => Vec::new(),
    };
    for name in names {
        let known = machines.iter().find(|machine| machine.name == name);
        let mut status = target(lab, &name, known, bootd.as_ref());
        if listed
            .as_ref()
            .is_some_and(|listed| !listed.contains(&name))
        {
            verdict::unlisted(lab, &mut status);
        }
        vms.push(status);
    }
    // a failure says more than that something is not up
    let exits = || vms.iter().map(|vm| vm.exit);
    let exit = exits()
        .find(|exit| ![verdict::READY, verdict::NOT_UP].contains(exit))
        .or_else(|| exits().find(|exit| *exit != verdict::READY));
    Ok(Status {
        lab: lab.name().to_owned(),
        exit: exit.unwrap_or(verdict::READY),
        vms,
    })
}

fn vm(lab: &LabPaths, name: &str) -> (VmStatus, Option<Record>) {
    let paths = lab.vm(name);
    let log = paths.serial_log();
    let mut status = VmStatus {
        name: name.to_owned(),
        console: log.exists().then(|| log.display().to_string()),
        ..VmStatus::default()
    };
    match State::of(&paths) {
        Ok(State::Running(record)) => {
            status.state = "running";
            status.pid = Some(record.process.pid);
            status.started = Some(record.started);
            if let Some(forwards) = &record.forwards {
                status.address = Some(forwards.address.clone());
                status.ssh = Some(forwards.ssh);
                status.http = Some(forwards.http);
            }
            return (status, Some(record));
        }
        Ok(State::Died(record)) => {
            status.state = "died";
            status.trouble = Some(format!(
                "its QEMU (pid {}) is gone without having been stopped; {} has its last words; `make up` starts it again",
                record.process.pid,
                paths.qemu_log().display()
            ));
        }
        Ok(State::Stopped) if Saved::read(&paths).is_some() => status.state = "suspended",
        Ok(State::Held(_)) => status.state = "held",
        Ok(State::Stopped) => status.state = "stopped",
        Err(error) => {
            status.state = "unknown";
            status.trouble = Some(format!("{error:#}"));
        }
    }
    (status, None)
}

fn target(
    lab: &LabPaths,
    name: &str,
    known: Option<&MachineStatus>,
    bootd: Option<&Bootd>,
) -> VmStatus {
    let (mut status, record) = vm(lab, name);
    let paths = lab.vm(name);
    let address = std::fs::read_to_string(paths.dir().join("address")).ok();
    status.address = address.filter(|_| status.state == "running");
    let now = super::now();
    let started = record.map_or(0, |record| record.started);
    let stand = (!matches!(status.state, "stopped" | "suspended") || known.is_some())
        .then(|| target::stand(&paths, known, started, now));
    if let Some(stand) = stand.as_ref().filter(|_| status.state == "running") {
        status.stage = Some(stand.at.about().id);
        status.waited = Some(now.saturating_sub(stand.since) / 1000);
    }
    verdict::judge(lab, &mut status, known, stand.as_ref());
    let Some(known) = known else { return status };
    let streams = known.stage == Some(Stage::Streaming) && status.state == "running";
    let rate = bootd.filter(|_| streams).and_then(|bootd| {
        let since = Provision::read(&paths).map_or(0, |provision| provision.since);
        rate::ask(bootd, known.mac, since)
    });
    status.machine = Some(Machine {
        state: known.state,
        stage: known.stage,
        time: known.time,
        progress: known.progress,
        rate,
        message: known.message.clone(),
    });
    status
}
