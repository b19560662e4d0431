//! Errors in files that people write: file, line, column, the line itself and what to do.

use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

/// A file's text, to show parts of.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user knows it: relative to the project's root.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

/// Larger files are refused: parsing them takes minutes and gigabytes.
const LARGEST: u64 = 16 << 20;
/// So many characters of a line are shown.
const SHOWN: usize = 160;

/// What is wrong at a place in a file.
#[derive(Debug)]
pub struct Located {
    file: String,
    line: usize,
    column: usize,
    shown: String,
    /// Column of the place in what is shown.
    mark: usize,
    message: String,
    help: Option<String>,
}

impl std::error::Error for Located {}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        let number = self.line.to_string();
        let pad = " ".repeat(number.len());
        writeln!(f, "{pad}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{pad} |")?;
        writeln!(f, "{number} | {}", self.shown)?;
        write!(f, "{pad} | {}^", " ".repeat(self.mark - 1))?;
        if let Some(help) = &self.help {
            write!(f, "\n{pad} = help: {help}")?;
        }
        Ok(())
    }
}

impl Source {
    /// Reads the file at `root`/`name`.
    pub fn read(root: &Path, name: &str) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let what = || format!("reading {name}");
        let path = root.join(name);
        let meta = std::fs::metadata(&path).with_context(what)?;
        // a pipe or a device may never end
        anyhow::ensure!(
            meta.is_file(),
            "{name} is no file: remove it, or put one in its place"
        );
        let small = |size: u64| {
            anyhow::ensure!(
                size <= LARGEST,
                "{name} is of {}: nobody writes that by hand",
                super::units::human(size)
            );
            Ok(())
        };
        small(meta.len())?;
        let mut text = String::new();
        // what the system makes up says that it is empty
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        small(read.with_context(what)? as u64)?;
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// The same, but a file that isn't there is an empty one.
    pub fn read_or_empty(root: &Path, name: &str) -> anyhow::Result<Self> {
        if root.join(name).exists() {
            return Self::read(root, name);
        }
        Ok(Self {
            name: name.to_owned(),
            text: String::new(),
        })
    }

    /// An error at byte `span` of this file.
    pub fn error(&self, span: &Range<usize>, message: impl Into<String>) -> Located {
        let at = span.start.min(self.text.len());
        // serde_json counts bytes and may point into a character
        let at = (0..=at)
            .rev()
            .find(|i| self.text.is_char_boundary(*i))
            .unwrap_or(0);
        let before = self.text.get(..at).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let shown = self
            .text
            .get(start..)
            .unwrap_or("")
            .lines()
            .next()
            .unwrap_or("");
        let column = before.get(start..).unwrap_or("").chars().count() + 1;
        let (shown, mark) = window(shown, column);
        Located {
            file: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column,
            shown,
            mark,
            message: message.into(),
            help: None,
        }
    }

    /// Parses the whole file as JSON.
    pub fn parse_json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.text).map_err(|e| {
            let before = self
                .text
                .split_inclusive('\n')
                .take(e.line().saturating_sub(1));
            let at = before.map(str::len).sum::<usize>() + e.column().saturating_sub(1);
            let text = e.to_string();
            // the place is shown below
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |t| t.0);
            self.error(&(at..at), message).into()
        })
    }

    /// The line (from 1) of byte `at`.
    pub fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or("").matches('\n').count() + 1
    }

    /// Parses the whole file; unknown keys come with the nearest known one.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> anyhow::Result<T> {
        toml::from_str(&self.text).map_err(|e| {
            let message = e.message().to_owned();
            let span = e.span().unwrap_or(0..0);
            let mut error = self.error(&span, message.clone());
            if message.starts_with("unknown ") {
                let mut names = message.split('`').skip(1).step_by(2);
                let wrong = names.next().unwrap_or("").to_owned();
                if let Some(near) = nearest(&wrong, names) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
            }
            error.into()
        })
    }
}

impl Located {
    /// With a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With "did you mean" if one of `names` is near `wrong`.
    #[must_use]
    pub fn suggest<'a>(self, wrong: &str, names: impl Iterator<Item = &'a str>) -> Self {
        match nearest(wrong, names) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// The part of a long line around `column`, and where the column is in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= SHOWN {
        return (line.to_owned(), column);
    }
    let from = column.saturating_sub(SHOWN / 2).min(length - SHOWN);
    let mut text: String = line.chars().skip(from).take(SHOWN).collect();
    if from + SHOWN < length {
        text.push('…');
    }
    if from == 0 {
        return (text, column);
    }
    (format!("…{text}"), column - from + 1)
}

/// The name most like `wrong`, if any is alike. The same name is none: then something else is wrong with it.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .filter(|name| *name != wrong)
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_shown_in_part() {
        for at in [0, 5, 500, 995, 999] {
            let mut text = "é".repeat(1000);
            text.replace_range(at * 2..at * 2 + 2, "X");
            let source = Source {
                name: "t.toml".into(),
                text,
            };
            let told = source.error(&(at * 2..at * 2 + 1), "bad").to_string();
            let lines: Vec<Vec<char>> = told.lines().map(|l| l.chars().collect()).collect();
            assert!(lines[3].len() <= SHOWN + 6, "{told}");
            let mark = lines[4].iter().position(|c| *c == '^').unwrap();
            assert_eq!(lines[3].get(mark), Some(&'X'), "{told}");
            assert!(told.contains(&format!("t.toml:1:{}", at + 1)));
        }
    }
}
