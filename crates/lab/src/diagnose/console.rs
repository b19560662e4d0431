//! A console's text as lines that a person can read.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::{Line, Source};

/// How much of a log's end is looked at.
const END: u64 = 128 << 10;

/// The last `count` lines of a console's log after byte `from` that say
/// anything, oldest first.
pub(crate) fn last_lines(log: &Path, from: u64, count: usize) -> Vec<Line> {
    let mut text = Vec::new();
    let read = std::fs::File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(END))))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = plain(&String::from_utf8_lossy(&text));
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| Line::new(Source::Serial, *line))
        .collect()
}

/// The text without what moves the cursor or changes colours: a move begins a
/// new line, what is written over is gone (a progress in percent leaves its last),
/// and the rest goes.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // ECMA-48: parameters, then one final character
                let last = chars.find(|c| ('@'..='~').contains(c));
                if matches!(last, Some('H' | 'J' | 'f')) && !out.ends_with('\n') {
                    out.push('\n');
                }
            }
            '\r' if !matches!(chars.peek(), None | Some('\r' | '\n')) => {
                out.truncate(out.rfind('\n').map_or(0, |end| end + 1));
            }
            '\n' | '\t' => out.push(char),
            char if char.is_control() => {}
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_no_text() {
        let text = "\u{1b}[2J\u{1b}[01;01H\u{1b}[=3hBdsDxe: loading\r\n\u{1b}[0;32mOK\u{1b}[0m\r\n";
        assert_eq!(plain(text).trim(), "BdsDxe: loading\nOK");
    }

    #[test]
    fn what_is_written_over_is_gone() {
        let text = "URI\r\n\r  Downloading...1%\r  Downloading...100%BdsDxe: loading\r\r\nend\r";
        assert_eq!(plain(text), "URI\n  Downloading...100%BdsDxe: loading\nend");
    }

    #[test]
    fn a_log_that_is_not_there_has_no_lines() {
        assert!(last_lines(Path::new("/nonexistent"), 0, 5).is_empty());
    }
}
