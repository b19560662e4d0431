//! How far a machine is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Mac, Progress};

/// The state of a machine, which decides what it is told to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Nothing was installed yet: it is given the install script.
    Install,
    /// The installer has asked for its plan.
    Installing,
    /// The disk is complete: it is told to boot from it.
    Installed,
    /// cloud-init has finished.
    Ready,
    /// Something went wrong; the machine's status says what.
    Failed,
}

/// What a machine has reached, in the order in which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It was given the install script.
    Script,
    /// The installer was given its plan.
    Plan,
    /// The image is on its way to the disk; comes with progress in bytes.
    Streaming,
    /// All of the image was written, and its digest is the one of the plan.
    Verified,
    /// The seed for cloud-init is on the disk.
    Seeded,
    /// The disk is bootable; the installer restarts the machine.
    Rebooting,
    /// The installed system has started and has reached the server.
    Booted,
    /// cloud-init has finished.
    Ready,
    /// The machine gave up; the message says why.
    Failed,
    /// An unknown machine asked for a script and was refused. Changes no state.
    Refused,
    /// A template or the site is wrong, so a request could not be answered. Changes no state.
    Template,
    /// The host asked for a new installation.
    Reprovision,
}

impl MachineState {
    /// The state's name, as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

impl Stage {
    /// The stage's name, as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Plan => "plan",
            Self::Streaming => "streaming",
            Self::Verified => "verified",
            Self::Seeded => "seeded",
            Self::Rebooting => "rebooting",
            Self::Booted => "booted",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Template => "template",
            Self::Reprovision => "reprovision",
        }
    }

    /// Whether a machine may report this stage itself. The others are `bootd`'s own.
    pub fn is_reported(self) -> bool {
        matches!(
            self,
            Self::Streaming
                | Self::Verified
                | Self::Seeded
                | Self::Rebooting
                | Self::Booted
                | Self::Ready
                | Self::Failed
        )
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What `GET /machines` says of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name in `lab.toml`.
    pub name: String,
    /// Its address on the lab segment's Ethernet.
    pub mac: Mac,
    /// The host name it is given.
    pub hostname: String,
    /// Its state.
    pub state: MachineState,
    /// The last stage it reached; none if it never asked for anything.
    pub stage: Option<Stage>,
    /// When that was: milliseconds since 1970 by the server's clock.
    pub time: Option<u64>,
    /// What came with that stage; for `failed`, why.
    pub message: Option<String>,
    /// How far the stage is, if it says.
    pub progress: Option<Progress>,
    /// The last template or site error that this machine ran into since it was provisioned.
    pub template_error: Option<String>,
    /// Its cloud-init instance, new for each provisioning.
    pub instance_id: String,
}

#[cfg(test)]
mod tests {
    use super::{MachineState as M, Stage as S};

    #[test]
    fn names_are_those_of_the_json_form() {
        for state in [M::Install, M::Installing, M::Installed, M::Ready, M::Failed] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for stage in [
            S::Script,
            S::Plan,
            S::Streaming,
            S::Verified,
            S::Seeded,
            S::Rebooting,
            S::Booted,
            S::Ready,
            S::Failed,
            S::Refused,
            S::Template,
            S::Reprovision,
        ] {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }
}
