//! Colours: only on a terminal that knows them, and not if `NO_COLOR` is set.

use std::io::IsTerminal;

use crate::runlog::Ending;

/// Colours text, or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output.
    pub(super) fn stdout() -> Self {
        Self(crate::report::colors(std::io::stdout().is_terminal()))
    }

    /// `text` in the colour of this code.
    pub(super) fn code(self, code: &str, text: &str) -> String {
        if self.0 && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn ending(self, ending: Ending, text: &str) -> String {
        let code = match ending {
            Ending::Ok => "32",
            Ending::Restored => "36",
            Ending::Failed => "1;31",
            Ending::Interrupted | Ending::Open => "33",
        };
        self.code(code, text)
    }
}
