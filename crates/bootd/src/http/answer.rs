//! How an answer looks to the one who asked.

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::app::AppError;

/// The status of an error.
pub(super) fn status(error: &AppError) -> StatusCode {
    match error {
        AppError::Unknown(_) => StatusCode::NOT_FOUND,
        AppError::Refused(crate::machine::Refusal::Token) => StatusCode::FORBIDDEN,
        AppError::Refused(_) | AppError::Done { .. } => StatusCode::CONFLICT,
        AppError::Site(_) | AppError::Render(_) | AppError::Internal(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Who asks for a script.
pub(super) struct Client {
    is_ipxe: bool,
}

impl Client {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        Self {
            is_ipxe: agent.is_some_and(|agent| agent.starts_with("iPXE/")),
        }
    }

    /// A script that shows `message` and fails. iPXE runs what comes with status
    /// 200 only and would show just a number otherwise, so there the status is in
    /// a header; everyone else gets it as it is.
    pub(super) fn problem(&self, status: StatusCode, message: &str) -> Response {
        let shown = if self.is_ipxe { StatusCode::OK } else { status };
        let name = HeaderName::from_static("x-lab-status");
        (
            shown,
            [(name, status.as_str().to_owned())],
            plain(error_script(message)),
        )
            .into_response()
    }
}

/// A script, or a script that shows the error.
pub(super) fn script(client: &Client, result: Result<String, AppError>) -> Response {
    match result {
        Ok(script) => plain(script).into_response(),
        Err(error) => client.problem(status(&error), &error.to_string()),
    }
}

/// A text, or the error.
pub(super) fn text(result: Result<String, AppError>) -> Response {
    match result {
        Ok(body) => plain(body).into_response(),
        Err(error) => (status(&error), format!("{error}\n")).into_response(),
    }
}

fn plain(body: String) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
}

/// Shows `message` on the machine's console, waits, and leaves iPXE with an
/// error, so that the firmware tries its next entry.
fn error_script(message: &str) -> String {
    let shown: Vec<_> = message
        .lines()
        .filter(|line| line.contains(char::is_alphanumeric))
        .take(20)
        .map(|line| format!("echo   {}", echoed(line)))
        .collect();
    format!(
        "#!ipxe\necho\necho The lab's server can't tell this machine what to boot:\n{}\n\
         echo Trying the next boot entry in 10 seconds.\nsleep 10\nexit 1\n",
        shown.join("\n")
    )
}

/// `line` without what iPXE would take for its own syntax: its operators, and
/// words that begin with a hyphen, which it takes for options wherever they are.
pub(super) fn echoed(line: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_graphic() && !"$&|\\;#".contains(c) {
            c
        } else {
            ' '
        }
    };
    let line: String = line.chars().take(200).map(fits).collect();
    let words = line
        .split_whitespace()
        .map(|word| word.trim_start_matches('-'));
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{echoed, error_script};

    #[test]
    fn nothing_that_is_echoed_is_syntax() {
        assert_eq!(
            echoed(" --> a.tera:3:17 && ${x} || -- -n #; \\ é"),
            "> a.tera:3:17 {x} n"
        );
        let script = error_script(&"line\n\n  |  ^^^\n".repeat(50));
        assert_eq!(script.matches("echo   line").count(), 20);
        assert!(!script.contains("^^^"));
    }
}
