//! What an error looks like on standard error, and the exit status it gives.

use std::fmt;
use std::process::ExitCode;

use crate::target::WatchError;

/// An error that only carries an exit status: everything that a person needs
/// to know has been printed already, or the status *is* the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl std::error::Error for Status {}

/// Prints `error` (each cause on a line of its own) and says how to exit.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Status>().is_none() {
        eprintln!("error: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  because: {cause}");
        }
    }
    ExitCode::from(status(error))
}

/// The exit status of `error`: that of its kind of failure, if it has one.
pub(crate) fn status(error: &anyhow::Error) -> u8 {
    if let Some(status) = error.downcast_ref::<Status>() {
        return status.0;
    }
    error
        .downcast_ref::<WatchError>()
        .map_or(1, |error| error.kind.exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_added_context() {
        let error = anyhow::Error::new(Status(3)).context("while asking");
        assert_eq!(error.downcast_ref::<Status>(), Some(&Status(3)));
    }
}
