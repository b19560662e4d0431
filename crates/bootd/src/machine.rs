//! One machine's state, and what each stage makes of it.

use std::path::Path;

use anyhow::Context;
use fs_err as fs;
use protocol::{EventReport, Mac, Machine, MachineState, MachineStatus, Progress, Stage};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{atomic, secret};

/// What is kept of a machine across restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The machine.
    pub mac: Mac,
    /// Its state.
    pub state: MachineState,
    /// Whether its disk is complete: it is never given the install script then.
    pub on_disk: bool,
    /// The last stage it reached.
    pub stage: Option<Stage>,
    /// When that was, in milliseconds since 1970.
    pub time: Option<u64>,
    /// What came with that stage.
    pub message: Option<String>,
    /// How far that stage is.
    pub progress: Option<Progress>,
    /// The last template or site error that it ran into.
    pub template_error: Option<String>,
    /// The cloud-init instance of this provisioning.
    pub instance_id: String,
    /// What its reports must carry.
    pub token: String,
}

/// Why a report is not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Not the token of this provisioning.
    #[error("the token is not the one of this machine's plan; was it reprovisioned since?")]
    Token,
    /// Only `bootd` itself records this stage.
    #[error("a machine can't report {0}")]
    Reserved(Stage),
    /// It doesn't follow from where the machine is.
    #[error("{stage} can't follow: the machine is {state}")]
    Order {
        /// What was reported.
        stage: Stage,
        /// Where the machine is.
        state: MachineState,
    },
}

impl Record {
    /// A machine that nothing is known of yet: to be installed.
    pub fn new(mac: Mac, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            mac,
            state: MachineState::Install,
            on_disk: false,
            stage: None,
            time: None,
            message: None,
            progress: None,
            template_error: None,
            instance_id: format!("{name}-{}", secret::random_hex(6)?),
            token: secret::random_hex(16)?,
        })
    }

    /// What is told of it; its token isn't.
    pub fn status(self, machine: &Machine) -> MachineStatus {
        MachineStatus {
            name: machine.name.clone(),
            mac: machine.mac,
            hostname: machine.hostname.clone(),
            state: self.state,
            stage: self.stage,
            time: self.time,
            message: self.message,
            progress: self.progress,
            template_error: self.template_error,
            instance_id: self.instance_id,
        }
    }

    /// Whether it is to boot the install script, and not its disk.
    pub fn installs(&self) -> bool {
        !self.on_disk
    }

    /// Takes what the machine reports, or says why not.
    pub fn report(&mut self, report: &EventReport, now: u64) -> Result<(), Refusal> {
        if !secret::same(&report.token, &self.token) {
            return Err(Refusal::Token);
        }
        if !report.stage.is_reported() {
            return Err(Refusal::Reserved(report.stage));
        }
        let of_installer = matches!(
            report.stage,
            Stage::Streaming | Stage::Verified | Stage::Seeded | Stage::Rebooting
        );
        if of_installer && self.on_disk {
            return Err(Refusal::Order {
                stage: report.stage,
                state: self.state,
            });
        }
        self.reach(report.stage, now, report.message.clone());
        self.progress = report.progress;
        Ok(())
    }

    /// Notes that the machine has reached `stage`, which must fit its state.
    pub fn reach(&mut self, stage: Stage, now: u64, message: Option<String>) {
        self.state = match stage {
            // asked again after a failed or interrupted try: what it was is told by the stage
            Stage::Script | Stage::Reprovision => MachineState::Install,
            Stage::Plan | Stage::Streaming | Stage::Verified | Stage::Seeded => {
                MachineState::Installing
            }
            // It was ready, and was only restarted. If that went wrong, the message says
            // so: its installation is over, and somebody may have worked on it since, which
            // only the host's order throws away.
            Stage::Booted | Stage::Failed if self.state == MachineState::Ready => {
                MachineState::Ready
            }
            Stage::Rebooting | Stage::Booted => MachineState::Installed,
            Stage::Ready => MachineState::Ready,
            Stage::Failed => MachineState::Failed,
            Stage::Refused | Stage::Template => return,
        };
        // the report before the restart may get lost; a system that runs is proof enough
        self.on_disk |= matches!(stage, Stage::Rebooting | Stage::Booted | Stage::Ready);
        self.stage = Some(stage);
        self.time = Some(now);
        self.message = message;
        self.progress = None;
    }
}

/// The folder with a file for each machine.
pub struct Records {
    folder: std::path::PathBuf,
}

impl Records {
    /// Opens the folder, which is made if it isn't there.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// The machine's record, if there is one.
    pub fn read(&self, mac: Mac) -> anyhow::Result<Option<Record>> {
        let path = self.path(mac);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = serde_json::from_slice(&json).with_context(|| {
            format!(
                "{} is damaged; `make reprovision` replaces it",
                path.display()
            )
        })?;
        Ok(Some(record))
    }

    /// Replaces the machine's record; it is on the disk when this returns.
    pub fn write(&self, record: &Record) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(record)?;
        let path = self.path(record.mac);
        atomic::write(&path, &json).with_context(|| format!("can't write {}", path.display()))
    }

    /// How many machines there are records of.
    pub fn count(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(&self.folder)?.count())
    }

    fn path(&self, mac: Mac) -> std::path::PathBuf {
        self.folder.join(format!("{}.json", mac.hexhyp()))
    }
}
