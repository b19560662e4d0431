//! Why a request can't be answered.

use protocol::{Mac, MachineState};
use thiserror::Error;

use crate::{machine::Refusal, render::RenderError, site::LoadError};

/// Why a request can't be answered.
#[derive(Debug, Error)]
pub enum AppError {
    /// No machine of the lab.
    #[error("{0} is not a machine of this lab; add it to lab.toml and push the site")]
    Unknown(Mac),
    /// The site can't be used.
    #[error("the lab's site can't be used: {0}")]
    Site(#[from] LoadError),
    /// A template failed.
    #[error("{0}")]
    Render(#[from] RenderError),
    /// A report that doesn't fit.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The machine is past the point where this makes sense.
    #[error(
        "{name} is {state}: there is nothing to install; `make reprovision VM={name}` starts over"
    )]
    Done {
        /// The machine.
        name: String,
        /// Where it is.
        state: MachineState,
    },
    /// The server's own trouble.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}
