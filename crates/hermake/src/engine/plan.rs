//! The manifest of a task as its files are now.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use super::Engine;
use super::needed::Needed;
use crate::config::task::fill_outputs;
use crate::config::written;
use crate::config::{Kind, Task};
use crate::exec::tools::members;
use crate::fs::glob::{self, Listed};
use crate::fs::tree;
use crate::fs::{Digest, Fingerprint, RelPath};
use crate::manifest::Manifest;
use crate::state::{TaskState, ToolFile};

/// A manifest, and the fingerprints of what it was made from.
#[derive(Debug)]
pub struct Plan {
    /// What makes the key.
    pub manifest: Manifest,
    /// Its key.
    pub key: Digest,
    /// Fingerprints of its inputs.
    pub input_fps: Vec<Fingerprint>,
    /// The same, of files that changed only just now too.
    pub(super) raw_fps: Vec<Fingerprint>,
    /// Directories that globs looked into.
    pub dirs: Vec<Listed>,
    /// Programs.
    pub tools: Vec<ToolFile>,
    /// Results of needed tasks.
    pub needs: Vec<(String, Digest)>,
    /// What those tasks made.
    pub needed: Vec<Needed>,
}

impl Engine {
    /// Works out the manifest of `task`. The tasks it needs must be up to date.
    pub fn plan(&self, task: &Task) -> Result<Plan> {
        if let Some(prev) = self.state().task(&task.id) {
            self.cache.learn(prev);
        }
        let (needs, need_outputs, needed) = self.needs_of(task)?;
        let (mut files, mut dirs) = (BTreeSet::new(), Vec::new());
        self.inputs_of(task, &mut files, &mut dirs)?;
        let mut inputs = Vec::new();
        let mut input_fps = Vec::new();
        let mut raw_fps = Vec::new();
        for path in files {
            let (executable, digest, fp, raw) = self.input(task, &path)?;
            inputs.push((path, executable, digest));
            input_fps.push(fp);
            raw_fps.push(raw);
        }
        let (tools, tool_files) = self.tools_of(task)?;
        let manifest = Manifest {
            platform: Manifest::platform(),
            kind: task.kind.name().to_owned(),
            command: command(task),
            env: task
                .env
                .iter()
                .map(|(k, v)| (k.clone(), named(task, v)))
                .collect(),
            params: task.params.clone(),
            outputs: task
                .outputs
                .iter()
                .map(|o| {
                    if o.dir {
                        format!("{}/", o.path)
                    } else {
                        o.path.clone()
                    }
                })
                .collect(),
            tools,
            inputs,
            needs: need_outputs,
        };
        let key = manifest.key();
        Ok(Plan {
            manifest,
            key,
            input_fps,
            raw_fps,
            dirs,
            tools: tool_files,
            needs,
            needed,
        })
    }

    /// Results of the needed tasks; each output of theirs with its digest; and of what it is made.
    #[allow(clippy::type_complexity, reason = "three lists with one use")]
    fn needs_of(
        &self,
        task: &Task,
    ) -> Result<(Vec<(String, Digest)>, Vec<(String, Digest)>, Vec<Needed>)> {
        let (mut results, mut outputs, mut needed) = (Vec::new(), Vec::new(), Vec::new());
        for maker in &task.needs {
            let need = self.task(*maker);
            let state = self.state().task(&need.id).with_context(|| {
                format!(
                    "`{}` needs `{}`, which has not run: run `hermake run {}`",
                    task.name, need.name, need.name
                )
            })?;
            if need.outputs.is_empty() {
                outputs.push((format!("task {}", need.name), state.key));
            }
            for (output, tree) in need.outputs.iter().zip(state.outputs) {
                let digest = tree::digest(tree.iter().map(|s| &s.entry));
                outputs.push((output.path.clone(), digest));
                needed.push(Needed {
                    maker: *maker,
                    path: RelPath::new(&output.path),
                    tree,
                });
            }
            results.push((state.id, state.result));
        }
        Ok((results, outputs, needed))
    }

    /// The files that `task` declares, and the folders that were looked at for that.
    pub(super) fn inputs_of(
        &self,
        task: &Task,
        files: &mut BTreeSet<RelPath>,
        dirs: &mut Vec<Listed>,
    ) -> Result<()> {
        let made: Vec<&str> = task
            .needs
            .iter()
            .flat_map(|i| &self.task(*i).outputs)
            .map(|o| o.path.as_str())
            .collect();
        let is_made = |path: &str| {
            made.iter()
                .any(|m| path == *m || path.strip_prefix(m).is_some_and(|r| r.starts_with('/')))
        };
        for input in &task.inputs {
            if input.ends_with('/') || glob::is_pattern(input) {
                let mut matched = BTreeSet::new();
                glob::expand(&self.root, input, &mut matched, dirs)?;
                if input.ends_with('/') && matched.is_empty() && !self.root.join(input).is_dir() {
                    return Err(self.bad_input(task, input, "is no folder"));
                }
                let own = |p: &RelPath| {
                    let path = p.to_string();
                    is_made(&path)
                        || task.outputs.iter().any(|o| {
                            path == o.path
                                || path
                                    .strip_prefix(&o.path)
                                    .is_some_and(|r| r.starts_with('/'))
                        })
                };
                files.extend(matched.into_iter().filter(|p| !own(p)));
            } else if !is_made(input) {
                files.insert(RelPath::new(input));
            }
        }
        if let Kind::Render { template, context } = &task.kind {
            for path in std::iter::once(template).chain(context.iter().map(|c| &c.1)) {
                if !is_made(path) {
                    files.insert(RelPath::new(path));
                }
            }
        }
        Ok(())
    }

    fn input(
        &self,
        task: &Task,
        path: &RelPath,
    ) -> Result<(bool, Digest, Fingerprint, Fingerprint)> {
        let full = self.at(path.as_path());
        let whose = || format!("the input `{path}` of `{}` ({})", task.name, task.at);
        let get = |meta: std::io::Result<fs::Metadata>| match meta {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let what = match fs::read_link(&full) {
                    Ok(to) => format!("is a symlink to {}, which is not there", to.display()),
                    Err(_) => "is not there".to_owned(),
                };
                Err(self.bad_input(task, &path.to_string(), &what))
            }
            other => other.with_context(whose),
        };
        let mut meta = get(fs::symlink_metadata(&full))?;
        let link = meta.clone();
        if meta.is_symlink() {
            meta = get(fs::metadata(&full))?;
        }
        // a symlink below the project must not lead out of it
        if let Some(real) = self.leads_out(&full, &link)? {
            let what = format!("leads out of the project, to {}", real.display());
            return Err(self.bad_input(task, &path.to_string(), &what));
        }
        if meta.is_dir() {
            let what = format!("is a folder: write `{path}/` for all files below it");
            return Err(self.bad_input(task, &path.to_string(), &what));
        }
        if !meta.is_file() {
            return Err(self.bad_input(task, &path.to_string(), "is neither file nor folder"));
        }
        let executable = meta.permissions().mode() & 0o111 != 0;
        let raw = Fingerprint::of(&meta);
        let (digest, fp) = self.digest(path, raw).with_context(whose)?;
        Ok((executable, digest, fp, raw))
    }

    fn bad_input(&self, task: &Task, input: &str, what: &str) -> anyhow::Error {
        let message = format!(
            "the input `{input}` of `{}` ({}) {what}",
            task.name, task.at
        );
        let known = written::beside(&self.root, input);
        written::error(&self.root, &task.at, input, message, &known)
    }

    /// True if the inputs are still those that `plan` was made of: a task that ran meanwhile has seen them.
    pub fn still(&self, task: &Task, plan: &Plan) -> Result<bool> {
        // names that globs match may have changed, and outputs of needs are not looked at here
        if !plan.dirs.is_empty() || !task.needs.is_empty() {
            return Ok(self.plan(task)?.key == plan.key);
        }
        for (((path, _, digest), fp), raw) in plan
            .manifest
            .inputs
            .iter()
            .zip(&plan.input_fps)
            .zip(&plan.raw_fps)
        {
            let now = fs::metadata(self.at(path.as_path())).map(|m| Fingerprint::of(&m));
            if !now.is_ok_and(|now| now == *raw)
                || fp.is_unknown() && self.digest(path, *raw)?.0 != *digest
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    #[allow(clippy::type_complexity, reason = "two lists with one use")]
    fn tools_of(&self, task: &Task) -> Result<(Vec<(String, Digest)>, Vec<ToolFile>)> {
        let (mut digests, mut files) = (Vec::new(), Vec::new());
        for tool in &task.tools {
            let programs = self.finder.all(std::slice::from_ref(tool)).map_err(|e| {
                let message = format!("task `{}` ({}): {e:#}", task.name, task.at);
                written::error(&self.root, &task.at, tool, message, &written::programs())
            })?;
            let mut hasher = blake3::Hasher::new();
            for (name, path) in programs {
                let meta =
                    fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
                let path = RelPath::new(path);
                let (digest, fp) = self.digest(&path, Fingerprint::of(&meta))?;
                hasher.update(name.as_bytes());
                hasher.update(&digest.0);
                if !members(tool).1 {
                    digests.push((tool.clone(), digest));
                }
                files.push(ToolFile {
                    name,
                    path,
                    fp,
                    digest,
                });
            }
            if members(tool).1 {
                digests.push((tool.clone(), Digest(*hasher.finalize().as_bytes())));
            }
        }
        Ok((digests, files))
    }

    /// The state of a task that has this plan and these outputs.
    pub fn state_of(&self, task: &Task, plan: Plan, outputs: Vec<Vec<tree::Stamped>>) -> TaskState {
        let result = result_of(&plan.key, &outputs);
        TaskState {
            id: task.id.clone(),
            def: task.def,
            key: plan.key,
            boot: self.boot,
            manifest: plan.manifest,
            input_fps: plan.input_fps,
            dirs: plan.dirs,
            tools: plan.tools,
            needs: plan.needs,
            outputs,
            result,
            run: None,
        }
    }
}

/// The digest of all outputs; the key if there are none.
pub fn result_of(key: &Digest, outputs: &[Vec<tree::Stamped>]) -> Digest {
    if outputs.is_empty() {
        return *key;
    }
    let mut hasher = blake3::Hasher::new();
    for tree in outputs {
        hasher.update(&tree::digest(tree.iter().map(|s| &s.entry)).0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// `text` with its outputs by their final names: what enters the key.
pub fn named(task: &Task, text: &str) -> String {
    fill_outputs(text, |i| {
        task.outputs
            .get(i)
            .map(|o| o.path.clone())
            .unwrap_or_default()
    })
}

fn command(task: &Task) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut list = |name: &str, argv: &[String]| {
        for (i, arg) in argv.iter().enumerate() {
            out.push((format!("{name} {i}"), named(task, arg)));
        }
    };
    match &task.kind {
        Kind::Run { argv } => list("run", argv),
        Kind::Service(service) => {
            list("start", &service.start);
            list("ready", service.ready.as_deref().unwrap_or_default());
            list("stop", &service.stop);
            list("reload", service.reload.as_deref().unwrap_or_default());
        }
        Kind::Fetch { urls, digest } => {
            list("url", urls);
            out.push(("digest".into(), digest.clone()));
        }
        Kind::Render { template, context } => {
            out.push(("template".into(), template.clone()));
            for (name, path) in context {
                out.push((format!("context {name}"), path.clone()));
            }
        }
    }
    if task.network {
        out.push(("network".into(), "yes".into()));
    }
    if task.impure.is_some() {
        out.push(("impure".into(), "yes".into()));
    }
    out
}
