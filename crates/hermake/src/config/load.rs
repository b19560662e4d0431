//! From files to a checked graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::graph::{Graph, Settings};
use super::params::{Params, from_toml, scalar};
use super::raw::{self, ParamFile, Project, TaskFile, Text};
use super::resolve;
use super::scope::{Scope, Vars};
use super::secret;
use super::source::Source;
use super::task::Output;
use crate::fs::{Fingerprint, RelPath, glob};

/// Name of the project file.
pub const PROJECT: &str = "hermake.toml";

/// A task that exists: its `when` holds, and it is one element of its `each`.
pub struct Instance<'a> {
    /// Its name.
    pub name: String,
    /// As written.
    pub raw: &'a raw::Task,
    /// Where its name is written.
    pub span: std::ops::Range<usize>,
    /// The file.
    pub source: &'a Source,
    /// The element of `each`.
    pub item: Option<Value>,
    /// What it makes.
    pub outputs: Vec<Output>,
    /// Variables named so far.
    pub vars: BTreeSet<String>,
}

/// Reads and checks everything below `root`. `env` gives the user's environment; `write` says whether the key
/// that hides secrets may be made.
pub fn load(root: &Path, env: &dyn Fn(&str) -> Option<String>, write: bool) -> Result<Graph> {
    let source = Source::read_or_empty(root, PROJECT)?;
    let project: Project = source.parse()?;
    let hidden = secret::Hidden::new(&project, write);
    let values = |env: &dyn Fn(&str) -> Option<String>| -> Vars {
        let value = |(name, default): (&String, &String)| {
            let value = env(name).unwrap_or_else(|| default.clone());
            (name.clone(), hidden.value(name, value))
        };
        project.vars.iter().map(value).collect()
    };
    let (vars, defaults) = (values(env), values(&|_| None));
    let params = declare(root, &project, &vars, &source)?;

    let mut watched = vec![(PROJECT.to_owned(), stat(root, PROJECT))];
    let sources = task_sources(root, &project, &source, &mut watched)?;
    for path in params.paths() {
        watched.push((path.to_owned(), stat(root, path)));
    }
    let files = sources
        .iter()
        .map(|s| Ok((s, s.parse::<TaskFile>()?)))
        .collect::<Result<Vec<_>>>()?;
    secret::check(&project, &source, files.iter().map(|f| &f.1))?;
    let mut instances = Vec::new();
    for (source, file) in &files {
        for (name, task) in &file.task {
            instantiate(source, name, task, &params, &vars, &mut instances)?;
        }
    }
    let by_name = index(&instances)?;
    resolve::outputs(&mut instances, &params, &vars)?;
    let mut tasks = resolve::tasks(&instances, &by_name, &params, &vars, &defaults)?;
    super::check::graph(&mut tasks, &instances)?;
    Ok(Graph {
        tasks,
        watched,
        vars: vars.into_iter().collect(),
        settings: Settings::new(&project, &source)?,
    })
}

fn stat(root: &Path, path: &str) -> Fingerprint {
    let read_at = crate::fs::now_ns();
    std::fs::metadata(root.join(path)).map_or(Fingerprint::unknown(), |m| {
        Fingerprint::of(&m).settled(read_at)
    })
}

fn declare(root: &Path, project: &Project, vars: &Vars, source: &Source) -> Result<Params> {
    let mut params = Params::new(root);
    for (name, file) in &project.params {
        let (path, hint) = match file {
            ParamFile::Path(path) => (path, None),
            ParamFile::Hinted { file, hint } => (file, Some(hint.clone())),
        };
        let none = Params::new(root);
        let scope = plain_scope(source, &none, vars, None);
        let at = source
            .text
            .find(path.as_str())
            .map_or(0, |i| i.saturating_sub(1));
        let text = Text::new(at..at + path.len(), path.clone());
        params.declare(name, scope.string(&text)?, hint);
    }
    Ok(params)
}

/// A scope without needs and outputs.
pub fn plain_scope<'a>(
    source: &'a Source,
    params: &'a Params,
    vars: &'a Vars,
    item: Option<&'a Value>,
) -> Scope<'a> {
    Scope {
        source,
        params,
        vars,
        item,
        needs: Vec::new(),
        need_texts: Vec::new(),
        outputs: &[],
        used_vars: std::cell::RefCell::default(),
    }
}

fn task_sources(
    root: &Path,
    project: &Project,
    source: &Source,
    watched: &mut Vec<(String, Fingerprint)>,
) -> Result<Vec<Source>> {
    let (mut files, mut dirs) = (BTreeSet::<RelPath>::new(), Vec::new());
    let pattern = project.tasks.get_ref();
    glob::expand(root, pattern, &mut files, &mut dirs)?;
    if files.is_empty() {
        let message = format!("no task file matches `{pattern}`");
        let span = project.tasks.span();
        let error = source.error(&span, message.clone());
        return Err(if span.is_empty() {
            anyhow::anyhow!("{message}")
        } else {
            error.into()
        });
    }
    watched.extend(dirs.into_iter().map(|d| (d.path.to_string(), d.fp)));
    let mut sources = Vec::new();
    for file in files {
        let name = file.to_string();
        watched.push((name.clone(), stat(root, &name)));
        sources.push(Source::read(root, &name)?);
    }
    Ok(sources)
}

fn instantiate<'a>(
    source: &'a Source,
    name: &Text,
    task: &'a raw::Task,
    params: &Params,
    vars: &Vars,
    out: &mut Vec<Instance<'a>>,
) -> Result<()> {
    let scope = plain_scope(source, params, vars, None);
    let located = |span: &std::ops::Range<usize>, e: anyhow::Error| {
        anyhow::Error::from(source.error(span, format!("{e:#}")))
    };
    for (dotted, wanted) in &task.when {
        let is = scope
            .json(dotted.get_ref())
            .map_err(|e| located(&dotted.span(), e))?;
        if is != from_toml(wanted.clone()) {
            return Ok(());
        }
    }
    let items = match &task.each {
        None => vec![None],
        Some(each) => {
            let value = scope
                .json(each.get_ref())
                .map_err(|e| located(&each.span(), e))?;
            let Value::Array(list) = value else {
                let message = format!(
                    "`{}` is not a list: `each` makes one task per element",
                    each.get_ref()
                );
                return Err(source.error(&each.span(), message).into());
            };
            list.into_iter().map(Some).collect()
        }
    };
    for item in items {
        let scope = plain_scope(source, params, vars, item.as_ref());
        let expanded = scope.string(name)?;
        if let Some(secret) = secret::first(&expanded) {
            let message = format!("the secret `{secret}` can't be part of a task's name");
            return Err(source.error(&name.span(), message).into());
        }
        let valid = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
        if expanded.is_empty() || !expanded.chars().all(valid) || expanded.starts_with('-') {
            let message =
                format!("`{expanded}` can't name a task: letters, digits, `-`, `_` and `+` only");
            return Err(source.error(&name.span(), message).into());
        }
        let vars = scope.used_vars.take();
        out.push(Instance {
            name: expanded,
            raw: task,
            span: name.span(),
            source,
            item,
            outputs: Vec::new(),
            vars,
        });
    }
    Ok(())
}

fn index(instances: &[Instance<'_>]) -> Result<BTreeMap<String, usize>> {
    let mut by_name = BTreeMap::new();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (i, instance) in instances.iter().enumerate() {
        if let Some(other) = first.insert(&instance.name, i) {
            let other = &instances[other];
            let message = format!(
                "there are two tasks called `{}`; the other is at {}:{}",
                instance.name,
                other.source.name,
                other.source.line(other.span.start)
            );
            let help = "give them `when` so that only one exists, or another name";
            return Err(instance
                .source
                .error(&instance.span, message)
                .help(help)
                .into());
        }
        by_name.insert(instance.name.clone(), i);
    }
    Ok(by_name)
}

/// A `when` value and the like as text.
pub fn shown(value: &Value) -> String {
    scalar(value).unwrap_or_else(|| super::params::canonical(value))
}
