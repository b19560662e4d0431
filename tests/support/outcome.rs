//! What a finished command printed.

use std::time::{Duration, Instant};

use anyhow::ensure;

/// A finished command.
#[derive(Debug)]
pub struct Outcome {
    /// The command, for messages.
    pub command: String,
    /// Its exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output and standard error, in the order they came.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Of a program with these arguments, which began at `start` and ends now.
    pub(crate) fn new(
        program: &str,
        arguments: &[&str],
        code: Option<i32>,
        text: &[u8],
        start: Instant,
    ) -> Self {
        Self {
            command: format!("{program} {}", arguments.join(" ")),
            code,
            text: String::from_utf8_lossy(text).into_owned(),
            took: start.elapsed(),
        }
    }

    /// Itself, if the exit status is 0.
    pub fn success(self) -> anyhow::Result<Self> {
        ensure!(
            self.code == Some(0),
            "{} ended with {:?}:\n{}",
            self.command,
            self.code,
            self.tail()
        );
        Ok(self)
    }

    /// Itself, if the exit status is not 0 and every one of `words` was said.
    pub fn fails_with(self, words: &[&str]) -> anyhow::Result<Self> {
        ensure!(
            self.code.is_some_and(|code| code != 0),
            "{} should have failed but ended with {:?}:\n{}",
            self.command,
            self.code,
            self.tail()
        );
        self.says(words)
    }

    /// Itself, if every one of `words` was said.
    pub fn says(self, words: &[&str]) -> anyhow::Result<Self> {
        for word in words {
            ensure!(
                self.text.contains(word),
                "{} should have said {word:?}:\n{}",
                self.command,
                self.tail()
            );
        }
        Ok(self)
    }

    /// Itself, if none of `words` was said.
    pub fn keeps_quiet_about(self, words: &[&str]) -> anyhow::Result<Self> {
        for word in words {
            ensure!(
                !self.text.contains(word),
                "{} should not have said {word:?}:\n{}",
                self.command,
                self.tail()
            );
        }
        Ok(self)
    }

    fn tail(&self) -> &str {
        let from = self
            .text
            .char_indices()
            .rev()
            .filter(|(_, c)| *c == '\n')
            .nth(60)
            .map_or(0, |(at, _)| at + 1);
        &self.text[from..]
    }
}
