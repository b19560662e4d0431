//! The project file and task files as they are written. Unknown keys are refused.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A string that knows where it was written.
pub type Text = Spanned<String>;

/// `hermake.toml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Project {
    /// Glob of the task files.
    #[serde(default = "default_tasks")]
    #[schemars(with = "String")]
    pub tasks: Text,
    /// Where results are kept, instead of `$XDG_CACHE_HOME/hermake`.
    #[schemars(with = "Option<String>")]
    pub cache_dir: Option<Text>,
    /// Parameter files by name.
    #[serde(default)]
    pub params: BTreeMap<String, ParamFile>,
    /// Variables taken from the environment, with their defaults.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Variables whose values are nobody's business: they enter keys as a keyed hash, and are masked in logs.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub secrets: Vec<Text>,
    /// Limits of the store and of the logs.
    #[serde(default)]
    pub limits: Limits,
    /// How tasks are kept from what they don't declare.
    #[serde(default)]
    pub sandbox: SandboxMode,
}

fn default_tasks() -> Text {
    plain("tasks/*.toml")
}

/// A text that nobody wrote.
fn plain(text: &str) -> Text {
    Spanned::new(0..0, text.to_owned())
}

/// A file whose values tasks use.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a path, or { file = \"path\", hint = \"what makes it\" }"
)]
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
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Size of the shared store, like `20GiB`.
    #[schemars(with = "String")]
    pub store_size: Text,
    /// Results unused for longer are dropped, like `90d`.
    #[schemars(with = "String")]
    pub store_age: Text,
    /// Runs whose logs are kept.
    pub runs: usize,
    /// Size of the logs of a checkout, like `1GiB`.
    #[schemars(with = "String")]
    pub logs_size: Text,
    /// Older logs are dropped, like `90d`.
    #[schemars(with = "String")]
    pub logs_age: Text,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_size: plain("20GiB"),
            store_age: plain("90d"),
            runs: 200,
            logs_size: plain("1GiB"),
            logs_age: plain("90d"),
        }
    }
}

/// How tasks are kept from what they don't declare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// The best that this machine offers.
    #[default]
    Auto,
    /// bubblewrap's, also where hermake could make one itself.
    Bubblewrap,
    /// A copy of the declared inputs in a folder of its own, and a clean environment; no namespaces.
    Staged,
    /// In the checkout itself, with a clean environment.
    None,
}

/// A task file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Tasks by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Task>")]
    pub task: BTreeMap<Text, Task>,
}

/// A task as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
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
    #[schemars(with = "Vec<String>")]
    pub needs: Vec<Text>,
    /// Tasks that must have run before, without effect on the key.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub after: Vec<Text>,
    /// Files and globs.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub inputs: Vec<Text>,
    /// Dotted names of values that enter the key.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub params: Vec<Text>,
    /// Programs on PATH.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tools: Vec<Text>,
    /// Environment.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Text>,
    /// Variables an impure task keeps from the user's environment.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub pass_env: Vec<Text>,
    /// The command.
    #[schemars(with = "Option<Vec<String>>")]
    pub run: Option<Spanned<Vec<Text>>>,
    /// Files, and with a trailing slash directories, that it makes.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub outputs: Vec<Text>,
    /// `20m`, `90s`, `2h`.
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Text>,
    /// The task exists only if these values are so.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub when: BTreeMap<Text, toml::Value>,
    /// One task per element of this array.
    #[schemars(with = "Option<String>")]
    pub each: Option<Text>,
    /// Whether results may be kept in the shared store.
    pub store: Option<bool>,
    /// Why it can't be sandboxed.
    #[schemars(with = "Option<String>")]
    pub impure: Option<Text>,
    /// Why two runs of it needn't make the same, or can't be compared; `hermake check` says it.
    #[schemars(with = "Option<String>")]
    pub nondeterministic: Option<Text>,
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
    #[schemars(with = "Option<String>")]
    pub template: Option<Text>,
    /// `render`: name → file.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub context: BTreeMap<String, Text>,
    /// `fetch`: where from.
    #[schemars(with = "Option<String>")]
    pub url: Option<Text>,
    /// `fetch`: where else from.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub mirrors: Vec<Text>,
    /// `fetch`: `sha256:…` or `blake3:…`.
    #[schemars(with = "Option<String>")]
    pub digest: Option<Text>,
    /// `service`: starts it and returns.
    #[schemars(with = "Option<Vec<String>>")]
    pub start: Option<Spanned<Vec<Text>>>,
    /// `service`: returns once it is ready.
    #[schemars(with = "Option<Vec<String>>")]
    pub ready: Option<Spanned<Vec<Text>>>,
    /// `service`: status 0 if it is running.
    #[schemars(with = "Option<Vec<String>>")]
    pub status: Option<Spanned<Vec<Text>>>,
    /// `service`: stops it and returns.
    #[schemars(with = "Option<Vec<String>>")]
    pub stop: Option<Spanned<Vec<Text>>>,
    /// `service`: what a running one is brought up to date by, instead of
    /// `stop` and `start`.
    #[schemars(with = "Option<Vec<String>>")]
    pub reload: Option<Spanned<Vec<Text>>>,
}

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
