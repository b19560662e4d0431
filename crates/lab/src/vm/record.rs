//! `vm.json`: what runs, where it is reached, and what it was started from.

use std::io;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::disk::Fingerprint;
use super::process::Identity;
use crate::fsutil;
use crate::state::VmPaths;

/// Where the host reaches a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwards {
    /// The address: 127.0.0.1, or the VM's own where the host has a route.
    pub address: String,
    /// Port of its SSH server.
    pub ssh: u16,
    /// Port of its HTTP server.
    pub http: u16,
}

impl Forwards {
    /// The VM's HTTP server, with no slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.address, self.http)
    }
}

/// A VM that was started and not yet stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The VM's name.
    pub vm: String,
    /// QEMU's process.
    #[serde(flatten)]
    pub process: Identity,
    /// QEMU's version.
    pub qemu: String,
    /// When it was started, in milliseconds since 1970.
    pub started: u64,
    /// Which installation of its disk runs: changes when the disk is new.
    pub instance: String,
    /// Digest of all that would call for a restart if it changed.
    pub wanted: String,
    /// How the host reaches it; none for targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwards: Option<Forwards>,
    /// The content disk that is plugged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    /// Whether it went on from saved memory instead of booting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// The command line.
    pub argv: Vec<String>,
}

/// What is known of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running(Record),
    /// QEMU runs, and the guest stands still, since it is being suspended or
    /// resumed; or was, by someone who was killed.
    Held(Record),
    /// It was started, and its process is gone: killed, crashed, or the host
    /// was restarted.
    Died(Record),
    /// Nothing runs.
    Stopped,
}

impl State {
    /// Reads the record of a VM and looks whether its process lives.
    pub fn of(vm: &VmPaths) -> anyhow::Result<Self> {
        let path = vm.record();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Stopped),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let record: Record = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged: look for a qemu-system process of this lab, end it, and delete the file",
                path.display()
            )
        })?;
        Ok(if !record.process.is_alive() {
            Self::Died(record)
        } else if vm.held().exists() {
            Self::Held(record)
        } else {
            Self::Running(record)
        })
    }

    /// The record, if it runs.
    pub fn running(self) -> Option<Record> {
        match self {
            Self::Running(record) => Some(record),
            Self::Held(_) | Self::Died(_) | Self::Stopped => None,
        }
    }
}

impl Record {
    /// Writes the record, all of it or nothing.
    pub fn write(&self, vm: &VmPaths) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).context("cannot write vm.json")?;
        text.push(b'\n');
        fsutil::write_atomically(&vm.record(), &text, 0o644)
    }
}

/// Removes what a VM that doesn't run leaves behind.
pub(super) fn forget(vm: &VmPaths) -> anyhow::Result<()> {
    for path in [vm.record(), vm.qmp(), vm.serial(), vm.held()] {
        fsutil::remove_if_there(path)?;
    }
    Ok(())
}
