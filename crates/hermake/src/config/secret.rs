//! Secret variables. Their values are in no file of ours: in strings, keys, states and the graph's copy a mark stands
//! for them, which holds a keyed hash; the value itself is filled in when a command starts, and masked in what it prints.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::raw::{Project, TaskFile};
use super::source::{Source, nearest};
use crate::fs::atomic;

/// Begins the mark of a secret, `NAME:hash` between two characters for private use: JSON doesn't escape them.
const OPEN: char = '\u{f8f3}';
const CLOSE: char = '\u{f8f4}';
/// What is printed instead.
const MASK: &str = "***";
/// Shorter values are not masked: they are part of too much.
const SHORTEST: usize = 4;

/// The key of the hashes.
pub type Key = [u8; 32];

/// The mark of the secret `name` with this value.
pub fn marked(name: &str, value: &str, key: &Key) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(name.as_bytes())
        .update(&[0])
        .update(value.as_bytes());
    let hex = hasher.finalize().to_hex();
    format!("{OPEN}{name}:{}{CLOSE}", &hex[..32])
}

/// `text` with all marks replaced by what `by` says of name and hash.
fn replaced(text: &str, by: impl Fn(&str, &str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once(OPEN) {
        out.push_str(before);
        let (mark, after) = tail.split_once(CLOSE).unwrap_or((tail, ""));
        let (name, hash) = mark.split_once(':').unwrap_or((mark, ""));
        out.push_str(&by(name, hash));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `text` for people: secrets by their names.
pub fn hidden(text: &str) -> String {
    replaced(text, |name, _| format!("<secret {name}>"))
}

/// The first secret in `text`.
pub fn first(text: &str) -> Option<String> {
    let mark = text.split_once(OPEN)?.1;
    Some(mark.split(':').next().unwrap_or("").to_owned())
}

/// Hides values while task files are read.
pub(super) struct Hidden {
    names: Vec<String>,
    key: Key,
}

impl Hidden {
    pub(super) fn new(project: &Project, write: bool) -> Self {
        let names: Vec<_> = project
            .secrets
            .iter()
            .map(|s| s.get_ref().clone())
            .collect();
        let key = if names.is_empty() {
            [0; 32]
        } else {
            key(write)
        };
        Self { names, key }
    }

    pub(super) fn value(&self, name: &str, value: String) -> String {
        if self.names.iter().any(|n| n == name) {
            marked(name, &value, &self.key)
        } else {
            value
        }
    }
}

/// A secret that nothing uses is a typo.
pub(super) fn check<'a>(
    project: &Project,
    source: &Source,
    files: impl Iterator<Item = &'a TaskFile>,
) -> Result<()> {
    let passed: Vec<&str> = files
        .flat_map(|f| f.task.values())
        .flat_map(|t| t.pass_env.iter().map(|n| n.get_ref().as_str()))
        .collect();
    for secret in &project.secrets {
        let name = secret.get_ref();
        if !project.vars.contains_key(name) && !passed.contains(&name.as_str()) {
            let message =
                format!("the secret `{name}` is neither in [vars] nor in a task's `pass-env`");
            let error = source.error(&secret.span(), message);
            let known = project.vars.keys().map(String::as_str).chain(passed);
            return Err(match nearest(name, known) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            }
            .into());
        }
    }
    Ok(())
}

/// The user's key, made if it isn't there and `write` allows. Without one, results that rest on secrets aren't found.
pub fn key(write: bool) -> Key {
    let read = |path: &Path| -> Option<Key> { fs::read(path).ok()?.try_into().ok() };
    let Some(path) = key_path() else {
        return [0; 32];
    };
    if let Some(key) = read(&path) {
        return key;
    }
    if write {
        // of several at once the first wins; where none can be kept, none is used
        let _ = make(&path);
    }
    read(&path).unwrap_or([0; 32])
}

fn key_path() -> Option<PathBuf> {
    Some(crate::store::default_folder().ok()?.join("secret-key"))
}

fn make(path: &Path) -> Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    atomic::create_parent(path)?;
    let tmp = path.with_file_name(atomic::unique());
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&tmp)?;
    let done = file
        .write_all(&key)
        .and_then(|()| fs::hard_link(&tmp, path));
    fs::remove_file(&tmp)?;
    Ok(done?)
}

/// The values, while tasks run.
#[derive(Debug, Default)]
pub struct Secrets {
    values: Vec<(String, String)>,
    /// What is masked, longest first.
    masked: Vec<String>,
}

impl Secrets {
    /// Of `names` and their defaults, from the environment.
    pub fn new(names: &[(String, Option<String>)]) -> Self {
        let value = |(name, default): &(String, Option<String>)| {
            // what a task prints is masked as text, so one that isn't is taken as it would be printed
            let set = std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
            let value = set.or_else(|| default.clone())?;
            Some((name.clone(), value))
        };
        let values: Vec<_> = names.iter().filter_map(value).collect();
        let lines = values.iter().flat_map(|(_, value)| value.lines());
        let mut masked: Vec<_> = lines
            .filter(|l| l.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        masked.sort_by_key(|l| std::cmp::Reverse(l.len()));
        Self { values, masked }
    }

    /// `text` with the values of its secrets: for commands only.
    pub fn fill(&self, text: &str) -> String {
        if !text.contains(OPEN) {
            return text.to_owned();
        }
        replaced(text, |name, _| {
            let value = self.values.iter().find(|(n, _)| n == name);
            value.map(|(_, v)| v.clone()).unwrap_or_default()
        })
    }

    /// The same for all strings of a JSON value.
    pub fn fill_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = self.fill(text),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|v| self.fill_json(v)),
            serde_json::Value::Object(map) => map.values_mut().for_each(|v| self.fill_json(v)),
            _ => {}
        }
    }

    /// How many of these bytes can be masked by themselves, whatever comes after them.
    pub fn whole(&self, bytes: &[u8]) -> usize {
        // a part of a value may be all that is there yet
        let longest = self.masked.first().map_or(0, |v| v.len() - 1);
        let mut end = bytes.len().saturating_sub(longest);
        // nor is one that is there in full cut in two
        while let Some(before) = self
            .masked
            .iter()
            .find_map(|v| across(bytes, v.as_bytes(), end))
        {
            end = before;
        }
        end
    }

    /// `text` without the values of secrets.
    pub fn mask(&self, text: &str) -> String {
        let mut out = hidden(text);
        for value in &self.masked {
            if out.contains(value.as_str()) {
                out = out.replace(value.as_str(), MASK);
            }
        }
        out
    }
}

/// Where `value` begins in `bytes`, if byte `end` is within it.
fn across(bytes: &[u8], value: &[u8], end: usize) -> Option<usize> {
    let mut at = 0;
    while at < end {
        if bytes[at..].starts_with(value) {
            if at + value.len() > end {
                return Some(at);
            }
            at += value.len();
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_keyed_and_filled_and_hidden() {
        let (one, two) = ([1; 32], [2; 32]);
        let mark = marked("TOKEN", "hunter2", &one);
        assert!(!mark.contains("hunter2"));
        assert_ne!(mark, marked("TOKEN", "hunter2", &two));
        assert_ne!(mark, marked("TOKEN", "hunter3", &one));
        assert_eq!(first(&format!("a{mark}")).as_deref(), Some("TOKEN"));
        assert_eq!(hidden(&format!("a {mark} b")), "a <secret TOKEN> b");
        let secrets = Secrets {
            values: vec![("TOKEN".into(), "hunter2".into())],
            masked: vec!["hunter2".into()],
        };
        assert_eq!(secrets.fill(&format!("-p{mark}!")), "-phunter2!");
        assert_eq!(
            secrets.mask(&format!("{mark} is hunter2")),
            "<secret TOKEN> is ***"
        );
        assert_eq!(
            replaced(&format!("{OPEN}torn"), |n, _| n.to_owned()),
            "torn"
        );
    }

    #[test]
    fn a_value_is_never_cut_in_two() {
        let secrets = Secrets {
            values: Vec::new(),
            masked: vec!["abcdefgh".into(), "ghij".into()],
        };
        let whole = |text: &str| secrets.whole(text.as_bytes());
        assert_eq!(whole("xxxxxxxxxxabc"), 6);
        assert_eq!(whole("xxxxabcdefghxx"), 4);
        assert_eq!(whole("xxxxabcdefghxxxxxxxxx"), 14);
        // the second one is met first, and is itself cut off by the first
        assert_eq!(whole("abcdefghijxxxxxx"), 0);
        assert_eq!(whole("short"), 0);
        let repeated = Secrets {
            values: Vec::new(),
            masked: vec!["aaaa".into()],
        };
        assert_eq!(repeated.whole(&[b'a'; 1001]), 996);
        assert_eq!(Secrets::default().whole(b"any"), 3);
    }
}
