//! The checked graph, and its binary copy that spares reading the task files again.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::raw::{Project, SandboxMode};
use super::task::Task;
use super::units;
use crate::fs::{Digest, Fingerprint, atomic};

/// Changes whenever the binary form does.
const FORMAT: &[u8; 8] = b"hmkgrf04";

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
    /// 0 auto, 1 staged, 2 none.
    pub sandbox: u8,
}

impl Settings {
    /// From the project file.
    pub fn new(project: &Project) -> Result<Self> {
        let limits = &project.limits;
        Ok(Self {
            cache_dir: project.cache_dir.clone(),
            store_size: units::bytes(&limits.store_size).with_context(|| {
                format!("store-size: `{}` is no size like 20GiB", limits.store_size)
            })?,
            store_age: units::seconds(&limits.store_age).with_context(|| {
                format!("store-age: `{}` is no time like 90d", limits.store_age)
            })?,
            runs: limits.runs,
            sandbox: match project.sandbox {
                SandboxMode::Auto => 0,
                SandboxMode::Staged => 1,
                SandboxMode::None => 2,
            },
        })
    }
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
            return Ok(graph);
        }
        let graph = super::load::load(root, &env)?;
        if write {
            graph.save(root, &env)?;
        }
        Ok(graph)
    }

    fn save(&self, root: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let names = self
            .vars
            .iter()
            .map(|(n, _)| n.as_str())
            .collect::<Vec<_>>();
        let list = names.join("\n");
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
        let values: Vec<_> = names.lines().map(|n| format!("{n}={:?}", env(n))).collect();
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
    let vars = graph
        .vars
        .iter()
        .all(|(n, v)| env(n).is_none_or(|now| now == *v));
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

/// The project's root: the nearest folder upwards from `from` with a `hermake.toml`.
pub fn find_root(from: &Path) -> Result<PathBuf> {
    from.ancestors()
        .find(|dir| dir.join(super::load::PROJECT).is_file())
        .map(Path::to_path_buf)
        .with_context(|| {
            format!(
                "no {} in {} or above: create one (it may be empty) at the project's root",
                super::load::PROJECT,
                from.display()
            )
        })
}
