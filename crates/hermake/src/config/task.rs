//! A task with everything filled in: what the rest of hermake works on.

use serde::{Deserialize, Serialize};

/// Marks the place of output N in a string: its final path in keys and messages,
/// a private path while an impure task runs.
pub const OUT_OPEN: char = '\u{1}';
/// Ends the mark.
pub const OUT_CLOSE: char = '\u{2}';

/// A task of the graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one key of a task file"
)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its name and the variables that it uses: results of `LAB=a` and `LAB=b` are kept apart.
    pub id: String,
    /// One line for people.
    pub doc: String,
    /// What it does.
    pub kind: Kind,
    /// Indices of tasks whose outputs it uses.
    pub needs: Vec<usize>,
    /// Indices of tasks that come before, without effect on the key.
    pub after: Vec<usize>,
    /// Those of `after` that make one of its inputs: what it takes of theirs is a matter of its inputs.
    pub feeds: Vec<usize>,
    /// Paths, globs and `dir/`.
    pub inputs: Vec<String>,
    /// Values that enter the key: dotted name and canonical JSON.
    pub params: Vec<(String, String)>,
    /// Programs on PATH.
    pub tools: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Variables an impure task keeps.
    pub pass_env: Vec<String>,
    /// What it makes.
    pub outputs: Vec<Output>,
    /// Seconds.
    pub timeout: Option<u64>,
    /// Whether results go to the shared store.
    pub store: bool,
    /// Why it isn't sandboxed.
    pub impure: Option<String>,
    /// Why two runs of it needn't make the same, or can't be compared.
    pub nondeterministic: Option<String>,
    /// May use the network.
    pub network: bool,
    /// Its output is shown as it comes.
    pub progress: bool,
    /// Outputs are read-only links to the store.
    pub link: bool,
    /// `file:line`.
    pub at: String,
    /// Digest of all of the above that matters for the key.
    pub def: [u8; 32],
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative to the project's root, no trailing slash.
    pub path: String,
    /// Declared with a trailing slash.
    pub dir: bool,
}

/// What a task does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Kind {
    /// Runs a command.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Downloads.
    Fetch {
        /// In the order of trying.
        urls: Vec<String>,
        /// `sha256:…` or `blake3:…`.
        digest: String,
    },
    /// Renders a template.
    Render {
        /// Path of the template.
        template: String,
        /// Name → path.
        context: Vec<(String, String)>,
    },
    /// Keeps something running.
    Service(Box<Service>),
}

/// The commands of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// Starts it and returns.
    pub start: Vec<String>,
    /// Returns once it is ready.
    pub ready: Option<Vec<String>>,
    /// Status 0 if it runs.
    pub status: Vec<String>,
    /// Stops it and returns.
    pub stop: Vec<String>,
    /// Brings a running one up to date, instead of `stop` and `start`.
    pub reload: Option<Vec<String>>,
}

impl Kind {
    /// The kind's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Fetch { .. } => "fetch",
            Self::Render { .. } => "render",
            Self::Service(_) => "service",
        }
    }
}

impl Task {
    /// True if it runs in the checkout itself.
    pub fn in_place(&self) -> bool {
        self.impure.is_some() || matches!(self.kind, Kind::Service(_))
    }
}

/// Replaces the marks of outputs in `text` by what `path` says of each index.
pub fn fill_outputs(text: &str, path: impl Fn(usize) -> String) -> String {
    if !text.contains(OUT_OPEN) {
        return text.to_owned();
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(OUT_OPEN) {
        result.push_str(&rest[..open]);
        let tail = &rest[open + 1..];
        let close = tail.find(OUT_CLOSE).unwrap_or(tail.len());
        result.push_str(&path(tail[..close].parse().unwrap_or(0)));
        rest = tail.get(close + 1..).unwrap_or("");
    }
    result.push_str(rest);
    result
}
