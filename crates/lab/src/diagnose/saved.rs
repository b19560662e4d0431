//! `diagnosis.json`: why the last `up` of a machine did not end well, kept for
//! `lab status`, which asks nobody for logs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Diagnosis;
use crate::fsutil;
use crate::state::VmPaths;

/// Why the last `up` failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// Which kind of failure, as `docs/troubleshooting.md` lists them.
    pub kind: String,
    /// The exit status of that kind.
    pub exit: u8,
    /// The last stage that was reached.
    pub stage: String,
    /// What was told.
    pub text: String,
    /// What usually causes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

impl Saved {
    fn path(vm: &VmPaths) -> PathBuf {
        vm.dir().join("diagnosis.json")
    }

    /// What is kept of the VM's last failure.
    pub fn read(vm: &VmPaths) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(vm)).ok()?).ok()
    }

    /// Keeps it. That it can't be kept is no failure of the machine's.
    pub(crate) fn write(&self, vm: &VmPaths) {
        if let Ok(text) = serde_json::to_vec_pretty(self) {
            let _ = fsutil::write_atomically(&Self::path(vm), &text, 0o644);
        }
    }

    /// Forgets it: the machine is on its way again.
    pub(crate) fn forget(vm: &VmPaths) {
        let _ = std::fs::remove_file(Self::path(vm));
    }
}
