//! `provision.json`: which of bootd's installations a target's disk holds.
//!
//! bootd gives each installation of a machine an instance id. A disk that was
//! begun under another one (the server was made anew since, say) must not boot:
//! its report would be refused, and bootd would wait for an installation that
//! never comes.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::fsutil;
use crate::state::VmPaths;

/// What a disk holds, and how the VM that runs from it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// bootd's instance id.
    pub instance_id: String,
    /// The last of bootd's events before the VM was started.
    pub since: u64,
    /// Whether the disk was installed then, and only has to boot.
    pub installed: bool,
}

impl Provision {
    fn path(vm: &VmPaths) -> std::path::PathBuf {
        vm.dir().join("provision.json")
    }

    /// What the VM's disk holds, if that is known.
    pub fn read(vm: &VmPaths) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(vm)).ok()?).ok()
    }

    /// Notes what the VM's disk is about to hold.
    pub fn write(&self, vm: &VmPaths) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("cannot write provision.json")?;
        fsutil::write_atomically(&Self::path(vm), &text, 0o644)
    }
}
