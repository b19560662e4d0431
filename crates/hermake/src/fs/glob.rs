//! Globs over the project's files, with the directories that were looked into.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use glob::{MatchOptions, Pattern};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Fingerprint, RelPath, now_ns};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A directory that was listed, and what `stat` said of it: as long as that stays, so do its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The directory, relative to the project's root (`.` for the root).
    pub path: RelPath,
    /// Its fingerprint, or unknown if it changed just now or isn't there.
    pub fp: Fingerprint,
}

/// True if `text` has characters that make it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that match `pattern` (`dir/` stands for all files below it), sorted into `files`;
/// the directories that were listed go to `dirs`.
pub fn expand(
    root: &Path,
    pattern: &str,
    files: &mut BTreeSet<RelPath>,
    dirs: &mut Vec<Listed>,
) -> Result<()> {
    let whole = pattern.strip_suffix('/');
    let (base, matcher) = if let Some(dir) = whole {
        (dir.to_owned(), None)
    } else {
        let compiled =
            Pattern::new(pattern).with_context(|| format!("the glob `{pattern}` is not valid"))?;
        (literal_prefix(pattern), Some(compiled))
    };
    let deep = whole.is_some() || pattern.contains("**");
    let depth = if deep {
        usize::MAX
    } else {
        pattern.split('/').count()
    };
    walk(
        root,
        &RelPath::new(&base),
        matcher.as_ref(),
        depth,
        files,
        dirs,
    )
}

/// The part of a pattern before the first component that holds a special character.
fn literal_prefix(pattern: &str) -> String {
    let mut parts = Vec::new();
    for part in pattern.split('/') {
        if is_pattern(part) {
            break;
        }
        parts.push(part);
    }
    parts.join("/")
}

fn walk(
    root: &Path,
    dir: &RelPath,
    matcher: Option<&Pattern>,
    depth: usize,
    files: &mut BTreeSet<RelPath>,
    dirs: &mut Vec<Listed>,
) -> Result<()> {
    let shown = if dir.is_empty() {
        RelPath::new(".")
    } else {
        dir.clone()
    };
    let full = root.join(shown.as_path());
    let read_at = now_ns();
    let fp = match fs::metadata(&full) {
        Ok(meta) if meta.is_dir() => Fingerprint::of(&meta).settled(read_at),
        // a directory that isn't there (yet) matches nothing, and is looked for each time
        _ => {
            dirs.push(Listed {
                path: shown,
                fp: Fingerprint::unknown(),
            });
            return Ok(());
        }
    };
    dirs.push(Listed { path: shown, fp });
    let what = || format!("listing {}", full.display());
    let mut below = Vec::new();
    for item in fs::read_dir(&full).with_context(what)? {
        let item = item.with_context(what)?;
        let name = item.file_name();
        let path = dir.join(&name);
        let kind = item.file_type().with_context(what)?;
        if kind.is_dir() {
            let hidden = matcher.is_some() && name.as_encoded_bytes().starts_with(b".");
            if !hidden && path.bytes() != b"build/.hermake" {
                below.push(path);
            }
        } else if matcher.is_none_or(|m| m.matches_path_with(path.as_path(), OPTIONS)) {
            match kind.is_symlink().then(|| no_file(root, &path)).flatten() {
                Some(link) => dirs.push(link),
                None => {
                    files.insert(path);
                }
            }
        }
    }
    below.sort();
    let here = if dir.is_empty() {
        0
    } else {
        dir.bytes().split(|b| *b == b'/').count()
    };
    for path in below {
        if depth > here + 1 {
            walk(root, &path, matcher, depth, files, dirs)?;
        }
    }
    Ok(())
}

/// If the symlink `path` is nothing that a task could read as a file, what is to be looked at so as to notice when that
/// changes: one that leads nowhere (editors lock files by such), or to a folder of the project, whose files have names
/// of their own.
fn no_file(root: &Path, path: &RelPath) -> Option<Listed> {
    let full = root.join(path.as_path());
    let read_at = now_ns();
    let fp = match fs::metadata(&full) {
        Ok(meta) if meta.is_dir() => Fingerprint::of(&meta).settled(read_at),
        Err(e) if nowhere(&e) => {
            return Some(Listed {
                path: path.clone(),
                fp: Fingerprint::unknown(),
            });
        }
        // a file, or what whoever reads it says what is wrong with
        _ => return None,
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    let inside = real(&full)?.starts_with(real(root)?);
    inside.then(|| Listed {
        path: path.clone(),
        fp,
    })
}

fn nowhere(error: &std::io::Error) -> bool {
    let known = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    Errno::from_io_error(error).is_some_and(|e| known.contains(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_and_name_the_directories_they_depend_on() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "src/a.c",
            "src/b.h",
            "src/sub/c.c",
            "src/.hidden/d.c",
            "e.c",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let run = |pattern: &str| {
            let (mut files, mut dirs) = (BTreeSet::new(), Vec::new());
            expand(dir.path(), pattern, &mut files, &mut dirs).unwrap();
            (
                files.iter().map(ToString::to_string).collect::<Vec<_>>(),
                dirs.iter().map(|d| d.path.to_string()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(run("src/*.c"), (vec!["src/a.c".into()], vec!["src".into()]));
        let (files, dirs) = run("src/**/*.c");
        assert_eq!(files, ["src/a.c", "src/sub/c.c"]);
        assert_eq!(dirs, ["src", "src/sub"]);
        assert_eq!(
            run("src/").0,
            ["src/.hidden/d.c", "src/a.c", "src/b.h", "src/sub/c.c"]
        );
        assert_eq!(run("*.c").0, ["e.c"]);
        assert_eq!(run("none/*.c"), (vec![], vec!["none".into()]));
        for (to, link) in [
            ("nobody@nowhere", "src/.#a.c"),
            ("l.c", "src/l.c"),
            ("sub", "src/d.c"),
            ("a.c", "src/f.c"),
            ("/", "src/out.c"),
        ] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        let (files, dirs) = run("src/");
        assert_eq!(
            files,
            [
                "src/.hidden/d.c",
                "src/a.c",
                "src/b.h",
                "src/f.c",
                "src/out.c",
                "src/sub/c.c"
            ]
        );
        for link in ["src/.#a.c", "src/l.c", "src/d.c"] {
            assert!(dirs.iter().any(|d| d == link), "{link}");
        }
        assert_eq!(run("src/*.c").0, ["src/a.c", "src/f.c", "src/out.c"]);
        assert_eq!(run("src/d.c/").0, ["src/d.c/c.c"]);
    }
}
