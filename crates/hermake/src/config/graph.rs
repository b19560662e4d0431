//! The checked graph, and its binary copy that spares reading the task files again.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::raw::{Project, SandboxMode, Text};
use super::secret;
use super::source::Source;
use super::task::Task;
use super::units;
use crate::fs::{Digest, Fingerprint, atomic};

/// Changes whenever the binary form does.
pub const FORMAT: &[u8; 8] = b"hmkgrf06";

/// Marks secret variables in the list of names.
const SECRET: char = '!';

/// All tasks of a project.
#[derive(Debug, Serialize, Deserialize)]
pub struct Graph {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Files and directories that it was made from.
    pub watched: Vec<(String, Fingerprint)>,
    /// Variables it was made with.
    pub vars: Vec<(String, String)>,
    /// Settings of the project.
    pub settings: Settings,
}

/// Settings of `hermake.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Instead of `$XDG_CACHE_HOME/hermake`.
    pub cache_dir: Option<String>,
    /// Bytes that the store may take.
    pub store_size: u64,
    /// Seconds after which unused results may go.
    pub store_age: u64,
    /// Runs whose logs are kept.
    pub runs: usize,
    /// Bytes that their logs may take.
    pub logs_size: u64,
    /// Seconds after which logs go.
    pub logs_age: u64,
    /// Names of secret variables, with their defaults.
    pub secrets: Vec<(String, Option<String>)>,
    /// 0 auto, 1 staged, 2 none, 3 bubblewrap.
    pub sandbox: u8,
}

impl Settings {
    /// From the project file, whose text is `source`.
    pub fn new(project: &Project, source: &Source) -> Result<Self> {
        let size = |text: &Text| {
            let message = || format!("`{}` is no size like 20GiB", text.get_ref());
            units::bytes(text.get_ref()).ok_or_else(|| source.error(&text.span(), message()))
        };
        let age = |text: &Text| {
            let message = || format!("`{}` is no time like 90d", text.get_ref());
            units::seconds(text.get_ref()).ok_or_else(|| source.error(&text.span(), message()))
        };
        let limits = &project.limits;
        let secrets = project.secrets.iter().map(|s| {
            let name = s.get_ref().clone();
            let default = project.vars.get(&name).cloned();
            (name, default)
        });
        Ok(Self {
            cache_dir: cache_dir(project, source)?,
            store_size: size(&limits.store_size)?,
            store_age: age(&limits.store_age)?,
            runs: limits.runs,
            logs_size: size(&limits.logs_size)?,
            logs_age: age(&limits.logs_age)?,
            secrets: secrets.collect(),
            sandbox: match project.sandbox {
                SandboxMode::Auto => 0,
                SandboxMode::Staged => 1,
                SandboxMode::None => 2,
                SandboxMode::Bubblewrap => 3,
            },
        })
    }
}

/// Where the project wants the store to be.
fn cache_dir(project: &Project, source: &Source) -> Result<Option<String>> {
    let Some(text) = &project.cache_dir else {
        return Ok(None);
    };
    let path = text.get_ref();
    let why = match path.as_str() {
        "" => "`cache-dir` is empty",
        tilde if tilde.starts_with('~') => "`~` is the shell's, and here a name like others",
        _ => return Ok(Some(path.clone())),
    };
    let error = source.error(&text.span(), why);
    let help = "write the whole path, or one below the project; without `cache-dir` it is $XDG_CACHE_HOME/hermake, or ~/.cache/hermake";
    Err(error.help(help).into())
}

impl Graph {
    /// The task called `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|t| t.name == name)
    }

    /// Reads the graph of the project at `root`: its binary copy if nothing changed since, else the files.
    /// `write` says whether the copy may be renewed.
    pub fn open(root: &Path, write: bool) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok();
        let slot = slot(root, &env);
        if let Some(path) = &slot
            && let Some(graph) = cached(root, path, &env)
        {
            graph.are_texts()?;
            return Ok(graph);
        }
        let graph = super::load::load(root, &env, write)?;
        graph.are_texts()?;
        if write {
            // without the copy the files are read again
            let _ = graph.save(root, &env);
        }
        Ok(graph)
    }

    /// A variable that can't be a string of a task file must not silently count as not set.
    fn are_texts(&self) -> Result<()> {
        for (name, _) in &self.vars {
            anyhow::ensure!(
                !matches!(std::env::var(name), Err(std::env::VarError::NotUnicode(_))),
                "the variable `{name}` of [vars] in {} is set to what is not UTF-8: set it to a text, or unset it",
                super::load::PROJECT
            );
        }
        Ok(())
    }

    fn is_secret(&self, name: &str) -> bool {
        self.settings.secrets.iter().any(|(n, _)| n == name)
    }

    fn save(&self, root: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let names = self.vars.iter().map(|(n, _)| {
            if self.is_secret(n) {
                format!("{SECRET}{n}")
            } else {
                n.clone()
            }
        });
        let list = names.collect::<Vec<_>>().join("\n");
        let folder = folder(root);
        if fs::read_to_string(folder.join("vars")).ok().as_deref() != Some(&list) {
            atomic::write(&folder.join("vars"), list.as_bytes())?;
        }
        let mut bytes = FORMAT.to_vec();
        bytes.extend(postcard::to_stdvec(self).context("encoding the graph")?);
        let path = slot(root, env).context("the graph's slot")?;
        atomic::write(&path, &bytes)
    }
}

fn folder(root: &Path) -> PathBuf {
    root.join("build/.hermake/graph")
}

/// Where the copy for the current values of the variables is.
fn slot(root: &Path, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let names = fs::read_to_string(folder(root).join("vars")).ok()?;
    let mut name = String::from("graph");
    if !names.is_empty() {
        let value = |line: &str| match line.strip_prefix(SECRET) {
            // a plain hash of a secret in a file's name would help who guesses
            Some(n) => format!(
                "{n}={:?}",
                env(n).map(|v| secret::marked(n, &v, &secret::key(false)))
            ),
            None => format!("{line}={:?}", env(line)),
        };
        let values: Vec<_> = names.lines().map(value).collect();
        name = Digest::of(values.join("\n").as_bytes()).short();
    }
    Some(folder(root).join(name + ".bin"))
}

fn cached(root: &Path, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Option<Graph> {
    let bytes = fs::read(path).ok()?;
    let graph: Graph = postcard::from_bytes(bytes.strip_prefix(FORMAT)?).ok()?;
    let same = graph
        .watched
        .iter()
        .all(|(path, fp)| match fs::metadata(root.join(path)) {
            Ok(meta) => !fp.is_unknown() && Fingerprint::of(&meta) == *fp,
            // a parameter file that isn't there was not there before either
            Err(_) => fp.is_unknown(),
        });
    let vars = graph.vars.iter().all(|(n, v)| {
        env(n).is_none_or(|now| {
            if graph.is_secret(n) {
                secret::marked(n, &now, &secret::key(false)) == *v
            } else {
                now == *v
            }
        })
    });
    (same && vars).then_some(graph)
}

/// Index from names to tasks.
pub fn index(tasks: &[Task]) -> HashMap<&str, usize> {
    tasks
        .iter()
        .enumerate()
        .map(|(i, t)| (t.name.as_str(), i))
        .collect()
}

/// The project's root: the nearest folder upwards from `from` with a `hermake.toml`, or else with task files.
pub fn find_root(from: &Path) -> Result<PathBuf> {
    let project = |dir: &&Path| dir.join(super::load::PROJECT).is_file();
    let has_tasks = |dir: &&Path| {
        let toml = |e: fs::DirEntry| e.path().extension().is_some_and(|x| x == "toml");
        fs::read_dir(dir.join("tasks")).is_ok_and(|list| list.flatten().any(toml))
    };
    from.ancestors()
        .find(project)
        .or_else(|| from.ancestors().find(has_tasks))
        .map(Path::to_path_buf)
        .with_context(|| {
            format!(
                "neither {} nor tasks/*.toml in {} or above: write a task file, as docs/tasks.md shows",
                super::load::PROJECT,
                from.display()
            )
        })
}
