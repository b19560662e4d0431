//! Everything that can change a task's result, and the one traversal that makes both key and explanation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::secret::hidden;
use crate::fs::{Digest, RelPath};

/// Changes whenever keys must: results of other versions are never used.
const VERSION: &str = "hermake 1";

/// The canonical form of a task, all files by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Operating system and architecture.
    pub platform: String,
    /// Kind of task.
    pub kind: String,
    /// The command or what else the kind has, in order.
    pub command: Vec<(String, String)>,
    /// Environment, sorted.
    pub env: Vec<(String, String)>,
    /// Parameters, sorted.
    pub params: Vec<(String, String)>,
    /// Declared outputs.
    pub outputs: Vec<String>,
    /// Tools by name.
    pub tools: Vec<(String, Digest)>,
    /// Inputs by path; true for executables.
    pub inputs: Vec<(RelPath, bool, Digest)>,
    /// Outputs of needed tasks by path.
    pub needs: Vec<(String, Digest)>,
}

/// Parts of a manifest, in the order in which their changes are told.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// An input file.
    Input,
    /// An output of a needed task.
    Need,
    /// The command line.
    Command,
    /// A parameter.
    Param,
    /// An environment variable.
    Env,
    /// A tool.
    Tool,
    /// The declared outputs.
    Outputs,
    /// Operating system, architecture, hermake's own format.
    Platform,
}

impl Group {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Need => "needed output",
            Self::Command => "command",
            Self::Param => "parameter",
            Self::Env => "variable",
            Self::Tool => "tool",
            Self::Outputs => "declared outputs",
            Self::Platform => "platform",
        }
    }
}

/// Takes the fields of a manifest one by one.
pub trait Sink {
    /// `name` identifies the field within its group.
    fn field(&mut self, group: Group, name: &[u8], value: &[u8]);
}

impl Manifest {
    /// This machine's platform.
    pub fn platform() -> String {
        format!(
            "{VERSION} {}-{}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )
    }

    /// Hands every field to `sink`.
    pub fn visit(&self, sink: &mut dyn Sink) {
        sink.field(Group::Platform, b"platform", self.platform.as_bytes());
        sink.field(Group::Command, b"kind", self.kind.as_bytes());
        for (name, value) in &self.command {
            sink.field(Group::Command, name.as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.env {
            sink.field(Group::Env, name.as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.params {
            sink.field(Group::Param, name.as_bytes(), value.as_bytes());
        }
        for (i, path) in self.outputs.iter().enumerate() {
            sink.field(Group::Outputs, i.to_string().as_bytes(), path.as_bytes());
        }
        for (name, digest) in &self.tools {
            sink.field(Group::Tool, name.as_bytes(), &digest.0);
        }
        for (path, executable, digest) in &self.inputs {
            let mut value = digest.0.to_vec();
            value.push(u8::from(*executable));
            sink.field(Group::Input, path.bytes(), &value);
        }
        for (what, digest) in &self.needs {
            sink.field(Group::Need, what.as_bytes(), &digest.0);
        }
    }

    /// The key of the result.
    pub fn key(&self) -> Digest {
        struct Hash(blake3::Hasher);
        impl Sink for Hash {
            fn field(&mut self, group: Group, name: &[u8], value: &[u8]) {
                self.0.update(&[group as u8]);
                for part in [name, value] {
                    self.0.update(&(part.len() as u64).to_le_bytes());
                    self.0.update(part);
                }
            }
        }
        let mut hash = Hash(blake3::Hasher::new());
        self.visit(&mut hash);
        Digest(*hash.0.finalize().as_bytes())
    }

    fn fields(&self) -> BTreeMap<(Group, Vec<u8>), Vec<u8>> {
        #[derive(Default)]
        struct Collect(BTreeMap<(Group, Vec<u8>), Vec<u8>>);
        impl Sink for Collect {
            fn field(&mut self, group: Group, name: &[u8], value: &[u8]) {
                self.0.insert((group, name.to_vec()), value.to_vec());
            }
        }
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.0
    }

    /// What differs from `old`, most telling first.
    pub fn changes(&self, old: &Self) -> Vec<Change> {
        let (old, new) = (old.fields(), self.fields());
        let mut changes = Vec::new();
        for (field, value) in &new {
            match old.get(field) {
                Some(before) if before == value => {}
                before => changes.push(Change::new(field, before, Some(value))),
            }
        }
        for (field, value) in &old {
            if !new.contains_key(field) {
                changes.push(Change::new(field, Some(value), None));
            }
        }
        changes.sort_by_key(|c| c.group);
        changes
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Which part.
    pub group: Group,
    /// Which field of it.
    pub name: String,
    /// What it was (files by their BLAKE3 digest); `null` if it is new.
    pub before: Option<String>,
    /// What it is; `null` if it is gone.
    pub after: Option<String>,
    /// Where the task is written, `file:line`, for what is written in task files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Change {
    fn new(field: &(Group, Vec<u8>), before: Option<&Vec<u8>>, after: Option<&Vec<u8>>) -> Self {
        let binary = matches!(field.0, Group::Input | Group::Need | Group::Tool);
        let show = |value: &Vec<u8>| match value.get(..32) {
            Some(bytes) if binary => {
                let mut digest = [0; 32];
                digest.copy_from_slice(bytes);
                let executable = if value.get(32) == Some(&1) {
                    " executable"
                } else {
                    ""
                };
                format!("{}{executable}", Digest(digest).hex())
            }
            _ => hidden(&String::from_utf8_lossy(value)),
        };
        Self {
            group: field.0,
            name: String::from_utf8_lossy(&field.1).into_owned(),
            before: before.map(show),
            after: after.map(show),
            at: None,
        }
    }

    /// The key of the task file that this comes from; what parameter files say is elsewhere.
    pub fn key(&self) -> Option<&str> {
        match self.group {
            // `run 2` is the third word of `run`
            Group::Command => self.name.split(' ').next(),
            Group::Env => Some("env"),
            Group::Outputs => Some("outputs"),
            _ => None,
        }
    }

    /// The digests before and after, for files.
    pub fn digests(&self) -> (Option<Digest>, Option<Digest>) {
        let digest = |value: &Option<String>| Digest::parse(value.as_ref()?.get(..64)?);
        (digest(&self.before), digest(&self.after))
    }

    /// A value as it is shown: digests are shortened.
    pub fn shown(&self, value: &str) -> String {
        let binary = matches!(self.group, Group::Input | Group::Need | Group::Tool);
        match value.split_at_checked(64) {
            Some((hex, rest)) if binary => match Digest::parse(hex) {
                Some(digest) => format!("{}{rest}", digest.short()),
                None => value.to_owned(),
            },
            _ => value.to_owned(),
        }
    }

    /// One short line: `input src/a.c changed`.
    pub fn line(&self) -> String {
        let group = self.group.name();
        let name = &self.name;
        let what = match (&self.before, &self.after) {
            (None, _) => "is new",
            (_, None) => "is gone",
            _ => "changed",
        };
        let at = self
            .at
            .as_ref()
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        match self.group {
            Group::Command | Group::Outputs | Group::Platform => {
                format!("{group} {what}{at}{}", self.values())
            }
            Group::Param | Group::Env => format!("{group} {name} {what}{at}{}", self.values()),
            _ => format!("{group} {name} {what}"),
        }
    }

    /// ` (before → after)`, from where they begin to differ.
    fn values(&self) -> String {
        let (before, after) = (self.before.as_deref(), self.after.as_deref());
        if before == after {
            return " (it holds a secret)".to_owned();
        }
        let same = match (before, after) {
            (Some(a), Some(b)) => {
                let equal = a.chars().zip(b.chars()).take_while(|(x, y)| x == y);
                equal.count().saturating_sub(CONTEXT)
            }
            _ => 0,
        };
        let value = |v: Option<&str>| v.map_or("nothing".to_owned(), |v| clip(v, same));
        format!(" ({} → {})", value(before), value(after))
    }
}

/// So much that is equal is shown before what differs.
const CONTEXT: usize = 12;
/// Longer values are cut.
const SHOWN: usize = 40;

/// `text` from its character `from` on, on one line and not too long.
fn clip(text: &str, from: usize) -> String {
    let from = if text.chars().count() <= SHOWN {
        0
    } else {
        from
    };
    let text = text.trim_end();
    let mut out = String::from(if from > 0 { "…" } else { "" });
    let mut rest = text.chars().skip(from);
    out.extend(
        rest.by_ref()
            .take(SHOWN - 1)
            .map(|c| if c.is_control() { ' ' } else { c }),
    );
    match (rest.next(), rest.next()) {
        (Some(last), None) => out.push(last),
        (Some(_), Some(_)) => out.push('…'),
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edit = fn(&mut Manifest);

    const PLATFORM_CHANGED: &str = "platform changed (<here> → hermake 1 plan9-vax)";

    fn manifest() -> Manifest {
        Manifest {
            platform: Manifest::platform(),
            kind: "run".into(),
            command: vec![("argv 0".into(), "cc".into())],
            env: vec![("A".into(), "b".into())],
            params: vec![],
            outputs: vec!["o".into()],
            tools: vec![("cc".into(), Digest::of(b"cc"))],
            inputs: vec![(RelPath::new("a.c"), false, Digest::of(b"a"))],
            needs: vec![],
        }
    }

    #[test]
    fn what_changes_the_key_is_explained_and_nothing_else() {
        let old = manifest();
        assert_eq!(old.changes(&old), []);
        let variants: [(Edit, &str); 8] = [
            (
                |m| m.command[0].1 = "gcc".into(),
                "command changed (cc → gcc)",
            ),
            (|m| m.env[0].1 = "c".into(), "variable A changed (b → c)"),
            (
                |m| m.params.push(("p".into(), "1".into())),
                "parameter p is new (nothing → 1)",
            ),
            (|m| m.tools[0].1 = Digest::of(b"x"), "tool cc changed"),
            (|m| m.inputs[0].1 = true, "input a.c changed"),
            (|m| m.inputs.clear(), "input a.c is gone"),
            (
                |m| m.platform = "hermake 1 plan9-vax".into(),
                PLATFORM_CHANGED,
            ),
            (
                |m| m.command[0].1 = format!("{} end", "cc ".repeat(40)),
                "command changed (cc → cc cc cc cc cc cc cc cc cc cc cc cc cc …)",
            ),
        ];
        for (change, line) in variants {
            let mut new = manifest();
            change(&mut new);
            assert_ne!(new.key(), old.key());
            let told = new.changes(&old)[0].line();
            assert_eq!(told.replace(&Manifest::platform(), "<here>"), line);
        }
    }

    #[test]
    fn long_values_are_shown_from_where_they_differ() {
        let long = "echo one; echo two; echo three; echo four; echo ";
        let mut change = Change {
            group: Group::Command,
            name: "run 2".into(),
            before: Some(format!("{long}five")),
            after: Some(format!("{long}six\nand more")),
            at: None,
        };
        assert_eq!(change.key(), Some("run"));
        change.at = Some("tasks/a.toml:7".into());
        assert_eq!(
            change.line(),
            "command changed at tasks/a.toml:7 (… four; echo five → … four; echo six and more)"
        );
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let (mut a, mut b) = (manifest(), manifest());
        a.env = vec![("A".into(), "Bc".into())];
        b.env = vec![("AB".into(), "c".into())];
        assert_ne!(a.key(), b.key());
    }
}
