//! Problems in `lab.toml`, shown with the line that they are on.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text, in bytes.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at `span`.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The `problems` (at least one) found in `text`, which came from `file`.
    pub fn new(file: &str, text: &str, problems: Vec<Problem>) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    /// What was found, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            show(f, &self.file, &self.text, problem)?;
        }
        Ok(())
    }
}

fn show(f: &mut fmt::Formatter<'_>, file: &str, text: &str, problem: &Problem) -> fmt::Result {
    let start = floor_char(text, problem.span.start);
    let end = floor_char(text, problem.span.end.max(start));
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let number = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let source = text[line_start..line_end].trim_end();
    let width = text[start..end.min(line_end)].chars().count().max(1);
    // Tabs keep their place, so that the caret stands below what it points at.
    let indent: String = text[line_start..start]
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let gutter = number.to_string().len();
    write!(
        f,
        "{file}:{number}:{column}: {}\n {number} | {source}\n {:gutter$} | {indent}{}",
        problem.message,
        "",
        "^".repeat(width),
    )?;
    if let Some(hint) = &problem.hint {
        write!(f, "\n  hint: {hint}")?;
    }
    Ok(())
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The problem that the TOML parser or serde found.
pub(super) fn from_toml(error: &toml::de::Error) -> Problem {
    let message = error.message();
    let mut problem = Problem::new(
        error.span().unwrap_or(0..0),
        message.lines().next().unwrap_or(message),
    );
    if let Some(hint) = nearest(message) {
        problem.hint = Some(format!("did you mean `{hint}`?"));
    } else if let Some(at) = message
        .find("expected ")
        .filter(|_| message.starts_with("unknown "))
    {
        problem.hint = Some(message[at..].to_owned());
    }
    if message.starts_with("unknown field `") || message.starts_with("unknown variant `") {
        let kind = if message.starts_with("unknown field") {
            "key"
        } else {
            "value"
        };
        let name = message.split('`').nth(1).unwrap_or_default();
        problem.message = format!("unknown {kind} `{name}`");
    }
    problem
}

/// The expected name closest to the one that was found, if any is close.
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    closest(quoted.next()?, quoted)
}

/// The one of `names` closest to the one that was found, if any is close.
pub(super) fn closest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| {
            let distance = strsim::damerau_levenshtein(found, name);
            (if name.starts_with(found) { 0 } else { distance }, name)
        })
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3 + 1)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_the_place_also_at_the_end_and_amid_wide_text() {
        let text = "a = \"é\" # ü\nb = 1";
        let at = text.find("# ü").unwrap();
        let error = ConfigError::new("x.toml", text, vec![Problem::new(at..at + 4, "why")]);
        assert_eq!(
            error.to_string(),
            "x.toml:1:9: why\n 1 | a = \"é\" # ü\n   |         ^^^"
        );
        let end = ConfigError::new("x.toml", text, vec![Problem::new(99..120, "end")]);
        assert_eq!(end.to_string(), "x.toml:2:6: end\n 2 | b = 1\n   |      ^");
        let empty = ConfigError::new("x.toml", "", vec![Problem::new(0..0, "none")]);
        assert_eq!(empty.to_string(), "x.toml:1:1: none\n 1 | \n   | ^");
    }
}
