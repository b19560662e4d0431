//! Finding out where everything stands.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{MachineState, MachineStatus, Progress, Stage};
use serde::Serialize;

use crate::config::Resolved;
use crate::state::LabPaths;
use crate::target::Bootd;
use crate::vm::{Record, State};

/// How long bootd may take to answer; a server that still boots doesn't.
const ANSWER: Duration = Duration::from_millis(800);

/// How long a server may take to boot, in milliseconds.
const BOOT: u64 = 600_000;

/// A lab.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub lab: String,
    /// Its VMs: the server first, then the targets by name.
    pub vms: Vec<VmStatus>,
}

/// A VM.
#[derive(Debug, Default, Serialize)]
pub struct VmStatus {
    /// Its name.
    pub name: String,
    /// `running`, `died`, `stopped` or `unknown`.
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
    /// What is wrong, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
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
    /// What came with it.
    pub message: Option<String>,
}

/// Looks at everything.
pub fn look(lab: &LabPaths) -> anyhow::Result<Status> {
    let config = Resolved::new(lab.config());
    let mut names: BTreeSet<String> = lab.vm_names()?.into_iter().collect();
    // Without a resolved configuration there are only the VMs' own folders.
    names.extend(config.target_names().unwrap_or_default());
    names.remove("server");
    let (server, record) = vm(lab, "server");
    let forwards = record.and_then(|record| record.forwards);
    let machines = forwards
        .as_ref()
        .map(|forwards| Bootd::new(forwards).machines(ANSWER));
    let mut vms = vec![VmStatus {
        answers: machines.as_ref().map(Result::is_ok),
        ..server
    }];
    let machines = match machines {
        Some(Ok(machines)) => machines,
        Some(Err(error)) => {
            // While it boots, silence is no trouble.
            if vms[0]
                .started
                .is_some_and(|then| super::now().saturating_sub(then) > BOOT)
            {
                vms[0].trouble.get_or_insert(format!(
                    "it is down, or too busy to answer within {} ms ({error})",
                    ANSWER.as_millis()
                ));
            }
            Vec::new()
        }
        None => Vec::new(),
    };
    for name in names {
        let known = machines.iter().find(|machine| machine.name == name);
        vms.push(target(lab, &name, known));
    }
    Ok(Status {
        lab: lab.name().to_owned(),
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
        Ok(State::Stopped) => status.state = "stopped",
        Err(error) => {
            status.state = "unknown";
            status.trouble = Some(format!("{error:#}"));
        }
    }
    (status, None)
}

fn target(lab: &LabPaths, name: &str, known: Option<&MachineStatus>) -> VmStatus {
    let (mut status, _) = vm(lab, name);
    let address = std::fs::read_to_string(lab.vm(name).dir().join("address")).ok();
    status.address = address.filter(|_| status.state == "running");
    let Some(known) = known else { return status };
    if status.trouble.is_none() {
        let message = known.message.as_deref().unwrap_or("it gave no reason");
        status.trouble = known
            .template_error
            .clone()
            .or_else(|| (known.state == MachineState::Failed).then(|| message.to_owned()));
    }
    status.machine = Some(Machine {
        state: known.state,
        stage: known.stage,
        time: known.time,
        progress: known.progress,
        message: known.message.clone(),
    });
    status
}
