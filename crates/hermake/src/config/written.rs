//! Where in a task file something is written, looked up again when there is something to say about it.

use std::ops::Range;
use std::path::Path;

use super::source::{Source, nearest};

/// The task file and the bytes of the task that begins at `at` (`file:line`).
fn task(root: &Path, at: &str) -> Option<(Source, Range<usize>)> {
    let (file, line) = at.rsplit_once(':')?;
    let source = Source::read(root, file).ok()?;
    let line: usize = line.parse().ok()?;
    let lines = source.text.split_inclusive('\n');
    let start: usize = lines.take(line.checked_sub(1)?).map(str::len).sum();
    let rest = source.text.get(start..)?;
    let end = rest
        .match_indices("\n[")
        .map(|(i, _)| i + 1)
        .chain([rest.len()])
        .next()?;
    Some((source, start..start + end))
}

/// Where the key `key` of the task at `at` is written, `file:line`; the task itself if that is not found.
pub fn key_line(root: &Path, at: &str, key: &str) -> String {
    let found = || {
        let (source, span) = task(root, at)?;
        let mut pos = span.start;
        for line in source.text.get(span)?.split_inclusive('\n') {
            let rest = line.trim_start().strip_prefix(key);
            if rest.is_some_and(|r| r.starts_with([' ', '=', '.', '\t'])) {
                return Some(format!("{}:{}", source.name, source.line(pos)));
            }
            pos += line.len();
        }
        None
    };
    found().unwrap_or_else(|| at.to_owned())
}

/// An error about the string `value` of the task at `at`, with the name from `known` that is most like it.
pub fn error(
    root: &Path,
    at: &str,
    value: &str,
    message: String,
    known: &[String],
) -> anyhow::Error {
    let Some((source, span)) = task(root, at) else {
        return anyhow::anyhow!(message);
    };
    let text = source.text.get(span.clone()).unwrap_or("");
    let quoted = ['"', '\'']
        .iter()
        .find_map(|q| text.find(&format!("{q}{value}{q}")));
    // what a template or a glob stands for is not written as it is: then the task is shown
    let start = span.start + quoted.unwrap_or(0);
    let error = source.error(&(start..span.end), message);
    match nearest(value, known.iter().map(String::as_str)) {
        Some(near) => error.help(format!("did you mean `{near}`?")).into(),
        None => error.into(),
    }
}

/// Files beside `path`, named as it is.
pub fn beside(root: &Path, path: &str) -> Vec<String> {
    let (dir, slash) = match path.trim_end_matches('/').rsplit_once('/') {
        Some((dir, _)) => (dir, "/"),
        None => ("", ""),
    };
    let list = std::fs::read_dir(root.join(dir));
    list.into_iter()
        .flatten()
        .flatten()
        .map(|e| format!("{dir}{slash}{}", e.file_name().to_string_lossy()))
        .collect()
}

/// Programs on PATH.
pub fn programs() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(Iterator::flatten)
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_found_in_their_task() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[task.a]\nrun = [\"x\"]\n\n[task.b]\nrunner = 1\nenv.A = \"1\"\nrun = [\"x\", \"y\"]\n[task.c]\n";
        std::fs::write(dir.path().join("t.toml"), text).unwrap();
        std::fs::write(dir.path().join("yes"), "").unwrap();
        let line = |key: &str| key_line(dir.path(), "t.toml:4", key);
        assert_eq!(line("run"), "t.toml:7");
        assert_eq!(line("env"), "t.toml:6");
        assert_eq!(line("tools"), "t.toml:4");
        assert_eq!(key_line(dir.path(), "gone.toml:4", "run"), "gone.toml:4");
        let told = |value: &str| {
            let known = beside(dir.path(), value);
            error(dir.path(), "t.toml:4", value, "bad".into(), &known).to_string()
        };
        assert_eq!(
            told("y"),
            "bad\n --> t.toml:7:13\n  |\n7 | run = [\"x\", \"y\"]\n  |             ^"
        );
        assert!(told("yess").ends_with("= help: did you mean `yes`?"));
        assert!(told("zz").contains("--> t.toml:4:1\n"));
    }
}
