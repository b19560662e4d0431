//! The project file and task files as they are written. Unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A string that knows where it was written.
pub type Text = Spanned<String>;

/// `hermake.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Project {
    /// Glob of the task files.
    #[serde(default = "default_tasks")]
    pub tasks: Text,
    /// Where results are kept, instead of `$XDG_CACHE_HOME/hermake`.
    pub cache_dir: Option<String>,
    /// Parameter files by name.
    #[serde(default)]
    pub params: BTreeMap<String, ParamFile>,
    /// Variables taken from the environment, with their defaults.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Limits of the store and of the logs.
    #[serde(default)]
    pub limits: Limits,
    /// How tasks are kept from what they don't declare.
    #[serde(default)]
    pub sandbox: SandboxMode,
}

fn default_tasks() -> Text {
    Spanned::new(0..0, "tasks/*.toml".to_owned())
}

/// A file whose values tasks use.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum ParamFile {
    /// Just its path.
    Path(String),
    /// With what to say when it is missing.
    Hinted {
        /// Its path.
        file: String,
        /// What makes it.
        hint: String,
    },
}

/// Limits; each has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Size of the shared store, like `20GiB`.
    pub store_size: String,
    /// Results unused for longer are dropped, like `90d`.
    pub store_age: String,
    /// Runs whose logs are kept.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_size: "20GiB".into(),
            store_age: "90d".into(),
            runs: 200,
        }
    }
}

/// How tasks are kept from what they don't declare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// The best that this machine offers.
    #[default]
    Auto,
    /// A copy of the declared inputs in a folder of its own, and a clean environment; no namespaces.
    Staged,
    /// In the checkout itself, with a clean environment.
    None,
}

/// A task file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Tasks by name.
    #[serde(default)]
    pub task: BTreeMap<Text, Task>,
}

/// A task as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Task {
    /// One line for people.
    #[serde(default)]
    pub doc: String,
    /// What it is; `run` if left out.
    #[serde(default)]
    pub kind: KindName,
    /// Tasks whose outputs become inputs.
    #[serde(default)]
    pub needs: Vec<Text>,
    /// Tasks that must have run before, without effect on the key.
    #[serde(default)]
    pub after: Vec<Text>,
    /// Files and globs.
    #[serde(default)]
    pub inputs: Vec<Text>,
    /// Dotted names of values that enter the key.
    #[serde(default)]
    pub params: Vec<Text>,
    /// Programs on PATH.
    #[serde(default)]
    pub tools: Vec<Text>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Variables an impure task keeps from the user's environment.
    #[serde(default)]
    pub pass_env: Vec<Text>,
    /// The command.
    pub run: Option<Spanned<Vec<Text>>>,
    /// Files, and with a trailing slash directories, that it makes.
    #[serde(default)]
    pub outputs: Vec<Text>,
    /// `20m`, `90s`, `2h`.
    pub timeout: Option<Text>,
    /// The task exists only if these values are so.
    #[serde(default)]
    pub when: BTreeMap<Text, toml::Value>,
    /// One task per element of this array.
    pub each: Option<Text>,
    /// Whether results may be kept in the shared store.
    pub store: Option<bool>,
    /// Why it can't be sandboxed.
    pub impure: Option<Text>,
    /// May use the network.
    #[serde(default)]
    pub network: bool,
    /// Show its output as it comes.
    #[serde(default)]
    pub progress: bool,
    /// Place outputs as read-only links to the store.
    #[serde(default)]
    pub link: bool,
    /// `render`: the template.
    pub template: Option<Text>,
    /// `render`: name → file.
    #[serde(default)]
    pub context: BTreeMap<String, Text>,
    /// `fetch`: where from.
    pub url: Option<Text>,
    /// `fetch`: where else from.
    #[serde(default)]
    pub mirrors: Vec<Text>,
    /// `fetch`: `sha256:…` or `blake3:…`.
    pub digest: Option<Text>,
    /// `service`: starts it and returns.
    pub start: Option<Spanned<Vec<Text>>>,
    /// `service`: returns once it is ready.
    pub ready: Option<Spanned<Vec<Text>>>,
    /// `service`: status 0 if it is running.
    pub status: Option<Spanned<Vec<Text>>>,
    /// `service`: stops it and returns.
    pub stop: Option<Spanned<Vec<Text>>>,
    /// `service`: what a running one is brought up to date by, instead of
    /// `stop` and `start`.
    pub reload: Option<Spanned<Vec<Text>>>,
}

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KindName {
    /// A command.
    #[default]
    Run,
    /// A download of known content.
    Fetch,
    /// A Tera template.
    Render,
    /// Something that keeps running.
    Service,
}
