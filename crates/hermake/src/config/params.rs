//! Values of parameter files (`lab.toml`, `build/host.toml`) by dotted name.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::source::{Source, nearest};

/// One declared file, read when a value of it is first used.
#[derive(Debug)]
struct File {
    path: String,
    hint: Option<String>,
    value: OnceCell<Option<Value>>,
}

/// All declared parameter files.
#[derive(Debug, Default)]
pub struct Params {
    root: std::path::PathBuf,
    files: BTreeMap<String, File>,
}

impl Params {
    /// None yet; paths are below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            files: BTreeMap::new(),
        }
    }

    /// Declares the file at `path` as `name`.
    pub fn declare(&mut self, name: &str, path: String, hint: Option<String>) {
        self.files.insert(
            name.to_owned(),
            File {
                path,
                hint,
                value: OnceCell::new(),
            },
        );
    }

    /// The declared paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.values().map(|f| f.path.as_str())
    }

    /// The declared names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// True if `name` is a declared file.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The value of a dotted name; `None` if the file has no such key.
    pub fn find(&self, dotted: &str) -> Result<Option<&Value>> {
        let mut parts = dotted.split('.');
        let name = parts.next().unwrap_or("");
        let Some(file) = self.files.get(name) else {
            let known = self.names().collect::<Vec<_>>().join(", ");
            bail!("`{name}` is no parameter file of hermake.toml (declared: {known})");
        };
        let Some(value) = self.read(file)? else {
            let hint = file.hint.as_deref().unwrap_or("create it");
            bail!(
                "`{dotted}` is needed, but {} is not there: {hint}",
                file.path
            );
        };
        let mut here = value;
        for part in parts {
            let next = match here {
                Value::Object(map) => map.get(part),
                Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get(i)),
                _ => None,
            };
            match next {
                Some(value) => here = value,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The value of a dotted name, or an error that suggests the nearest key.
    pub fn get(&self, dotted: &str) -> Result<&Value> {
        if let Some(value) = self.find(dotted)? {
            return Ok(value);
        }
        let (parent, last) = dotted.rsplit_once('.').unwrap_or((dotted, ""));
        let near = match self.find(parent)? {
            Some(Value::Object(map)) => nearest(last, map.keys().map(String::as_str)),
            _ => None,
        };
        let file = parent.split('.').next().and_then(|n| self.files.get(n));
        let path = file.map_or("", |f| f.path.as_str());
        match near {
            Some(near) => bail!("`{dotted}` is not in {path}; did you mean `{parent}.{near}`?"),
            None => bail!("`{dotted}` is not in {path}"),
        }
    }

    fn read<'a>(&self, file: &'a File) -> Result<Option<&'a Value>> {
        if let Some(value) = file.value.get() {
            return Ok(value.as_ref());
        }
        let path = self.root.join(&file.path);
        let value = if path.exists() {
            let source = Source::read(&self.root, &file.path)?;
            Some(if path.extension().is_some_and(|e| e == "json") {
                source.parse_json()?
            } else {
                from_toml(toml::Value::Table(source.parse()?))
            })
        } else {
            None
        };
        Ok(file.value.get_or_init(|| value).as_ref())
    }
}

/// TOML's values as JSON's; a date becomes its text, and so do `nan` and `inf`, which JSON doesn't have.
pub fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(s) => Value::String(s),
        toml::Value::Integer(i) => Value::from(i),
        toml::Value::Float(f) if f.is_nan() => Value::from("nan"),
        toml::Value::Float(f) if f.is_infinite() => Value::from(f.to_string()),
        toml::Value::Float(f) => Value::from(f),
        toml::Value::Boolean(b) => Value::from(b),
        toml::Value::Datetime(d) => Value::String(d.to_string()),
        toml::Value::Array(list) => Value::Array(list.into_iter().map(from_toml).collect()),
        toml::Value::Table(map) => {
            Value::Object(map.into_iter().map(|(k, v)| (k, from_toml(v))).collect())
        }
    }
}

/// JSON with sorted keys and no space: one text per value.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let fields = sorted
                .iter()
                .map(|(k, v)| format!("{}:{}", Value::String((*k).clone()), canonical(v)))
                .collect::<Vec<_>>();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => {
            format!(
                "[{}]",
                list.iter().map(canonical).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

/// A scalar as it appears in a string; `None` for tables and arrays.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_are_texts() {
        let table: toml::Table = "a = nan\nb = -inf\nc = 1.5\nd = -nan".parse().unwrap();
        let value = from_toml(toml::Value::Table(table));
        let text = |name: &str| scalar(&value[name]);
        assert_eq!(text("a").as_deref(), Some("nan"));
        assert_eq!(text("b").as_deref(), Some("-inf"));
        assert_eq!(text("c").as_deref(), Some("1.5"));
        assert_eq!(text("d").as_deref(), Some("nan"));
    }
}
