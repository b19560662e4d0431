//! Fills in a task's strings and finds the tasks it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::load::{Instance, plain_scope};
use super::params::{Params, canonical};
use super::raw::Text;
use super::scope::{Need, Scope, Vars};
use super::secret;
use super::source::Source;
use super::task::{Kind, Output, Task};
use crate::fs::Digest;
use crate::fs::glob::is_pattern;
use crate::fs::relpath::normal;

/// What hermake keeps for a checkout.
const HERMAKE: &str = "build/.hermake";

/// Works out the outputs of all tasks: others name them.
pub fn outputs(instances: &mut [Instance<'_>], params: &Params, vars: &Vars) -> Result<()> {
    for instance in instances {
        let scope = plain_scope(instance.source, params, vars, instance.item.as_ref());
        let mut outputs = Vec::new();
        for text in &instance.raw.outputs {
            let path = scope.string(text)?;
            if let Some(name) = secret::first(&path) {
                let message = format!("the secret `{name}` can't be part of a path");
                return Err(instance.source.error(&text.span(), message).into());
            }
            let bad = |why: &str| {
                anyhow::Error::from(
                    instance
                        .source
                        .error(&text.span(), format!("the output `{path}` {why}")),
                )
            };
            let normal = normal(&path).map_err(bad)?;
            // by components: `build/.hermakes` is another name
            if Path::new(&normal).starts_with(HERMAKE) {
                return Err(bad("is in hermake's own folder"));
            }
            if Path::new(HERMAKE).starts_with(&normal) {
                return Err(bad(
                    "holds hermake's own folder, build/.hermake: name a folder below it, like build/out/",
                ));
            }
            outputs.push(Output {
                path: normal,
                dir: path.ends_with('/'),
            });
        }
        instance.outputs = outputs;
        instance.vars.extend(scope.used_vars.take());
    }
    Ok(())
}

/// Makes tasks of all instances.
pub fn tasks(
    instances: &[Instance<'_>],
    by_name: &BTreeMap<String, usize>,
    params: &Params,
    vars: &Vars,
    defaults: &BTreeMap<String, String>,
) -> Result<Vec<Task>> {
    instances
        .iter()
        .map(|instance| task(instance, instances, by_name, params, vars, defaults))
        .collect()
}

/// A text of a list, by index, and the task that it names, by index.
type Found = (usize, usize);

fn find(
    texts: &[Text],
    scope: &Scope<'_>,
    by_name: &BTreeMap<String, usize>,
) -> Result<(Vec<String>, Vec<Found>)> {
    let (mut names, mut found) = (Vec::new(), Vec::new());
    for (by, text) in texts.iter().enumerate() {
        let name = scope.string(text)?;
        if name.contains('*') {
            // a glob may match nothing: a list of items may be empty
            let pattern = glob::Pattern::new(&name)
                .map_err(|e| scope.source.error(&text.span(), format!("`{name}`: {e}")))?;
            found.extend(
                by_name
                    .iter()
                    .filter(|(n, _)| pattern.matches(n))
                    .map(|(_, i)| (by, *i)),
            );
        } else if let Some(index) = by_name.get(&name) {
            found.push((by, *index));
        } else {
            let error = scope
                .source
                .error(&text.span(), format!("there is no task `{name}`"));
            return Err(error
                .suggest(&name, by_name.keys().map(String::as_str))
                .into());
        }
        names.push(name);
    }
    Ok((names, found))
}

fn task(
    instance: &Instance<'_>,
    instances: &[Instance<'_>],
    by_name: &BTreeMap<String, usize>,
    params: &Params,
    vars: &Vars,
    defaults: &BTreeMap<String, String>,
) -> Result<Task> {
    let raw = instance.raw;
    let source = instance.source;
    let mut scope = plain_scope(source, params, vars, instance.item.as_ref());
    let (need_texts, needs) = find(&raw.needs, &scope, by_name)?;
    let (_, after) = find(&raw.after, &scope, by_name)?;
    scope.need_texts = need_texts;
    scope.needs = needs
        .iter()
        .map(|&(by, i)| Need {
            name: &instances[i].name,
            by,
            outputs: &instances[i].outputs,
        })
        .collect();
    scope.outputs = &instance.outputs;

    let kind = super::kind::of(instance, &scope)?;
    let mut inputs = Vec::new();
    for text in &raw.inputs {
        for path in scope.expand_inputs(text)? {
            inputs.push(input(source, text, &path)?);
        }
    }
    let mut task = Task {
        name: instance.name.clone(),
        id: String::new(),
        doc: raw.doc.clone(),
        kind,
        needs: needs.iter().map(|n| n.1).collect(),
        after: after.iter().map(|n| n.1).collect(),
        feeds: Vec::new(),
        inputs,
        params: declared(&raw.params, &scope)?,
        tools: scope.list(&raw.tools)?,
        env: raw
            .env
            .iter()
            .map(|(k, v)| {
                if k.is_empty() || k.contains(['=', '\0']) {
                    let message = format!("`{}` can't name a variable", k.escape_default());
                    return Err(source.error(&v.span(), message).into());
                }
                Ok((k.clone(), scope.string(v)?))
            })
            .collect::<Result<_>>()?,
        pass_env: scope.list(&raw.pass_env)?,
        outputs: instance.outputs.clone(),
        timeout: raw
            .timeout
            .as_ref()
            .map(|t| seconds(source, t))
            .transpose()?,
        store: raw.store.unwrap_or(raw.impure.is_none()),
        impure: raw.impure.as_ref().map(|t| scope.string(t)).transpose()?,
        nondeterministic: reason(raw.nondeterministic.as_ref(), &scope)?,
        network: raw.network,
        progress: raw.progress,
        link: raw.link,
        at: format!("{}:{}", source.name, source.line(instance.span.start)),
        def: [0; 32],
    };
    if !task.pass_env.is_empty() && !task.in_place() {
        let error = source.error(
            &raw.pass_env[0].span(),
            "`pass-env` is for impure tasks only",
        );
        return Err(error
            .help("declare it in [vars] of hermake.toml and use `env`")
            .into());
    }
    if let (Kind::Render { .. }, true) = (&task.kind, task.store)
        && let Some((text, name)) = raw.params.iter().find_map(|text| {
            let value = task.params.iter().find(|(n, _)| n == text.get_ref());
            Some((text, secret::first(&value?.1)?))
        })
    {
        let message =
            format!("what is rendered with the secret `{name}` would be in the shared store");
        let error = source.error(&text.span(), message);
        return Err(error.help("add store = false").into());
    }
    let mut used = instance.vars.clone();
    used.extend(scope.used_vars.take());
    task.id = id(&task.name, &used, vars, defaults);
    task.def = definition(&task, instances);
    Ok(task)
}

/// A digest of what decides a task's key, as far as files don't.
fn definition(task: &Task, instances: &[Instance<'_>]) -> [u8; 32] {
    let mut plain = task.clone();
    plain.doc = String::new();
    plain.at = String::new();
    plain.timeout = None;
    plain.progress = false;
    plain.nondeterministic = None;
    // indices shift when another task is added; names don't
    plain.after = Vec::new();
    let needs: Vec<_> = plain
        .needs
        .drain(..)
        .map(|i| instances[i].name.as_str())
        .collect();
    Digest::of(&postcard::to_stdvec(&(plain, needs)).unwrap_or_default()).0
}

fn id(
    name: &str,
    used: &BTreeSet<String>,
    vars: &Vars,
    defaults: &BTreeMap<String, String>,
) -> String {
    let other: Vec<_> = used
        .iter()
        .filter(|v| vars.get(*v) != defaults.get(*v))
        // a new secret is a change, not another task
        .filter(|v| {
            vars.get(*v)
                .is_none_or(|value| secret::first(value).is_none())
        })
        .map(|v| format!("{v}={}", vars.get(v).map_or("", String::as_str)))
        .collect();
    if other.is_empty() {
        name.to_owned()
    } else {
        format!("{name}@{}", other.join(","))
    }
}

/// Why a task needn't make the same twice: words, not just a mark.
fn reason(text: Option<&Text>, scope: &Scope<'_>) -> Result<Option<String>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let why = scope.string(text)?;
    if why.trim().is_empty() {
        let error = scope
            .source
            .error(&text.span(), "`nondeterministic` says nothing".to_owned());
        return Err(error
            .help("write why two runs needn't make the same, or can't be compared")
            .into());
    }
    Ok(Some(why))
}

fn declared(texts: &[Text], scope: &Scope<'_>) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for text in texts {
        let name = scope.string(text)?;
        let value = scope
            .json(&name)
            .map_err(|e| scope.source.error(&text.span(), format!("{e:#}")))?;
        out.push((name, canonical(&value)));
    }
    out.sort();
    Ok(out)
}

/// A path or glob below the project's root, without `.` and `..`.
pub(super) fn input(source: &Source, text: &Text, path: &str) -> Result<String> {
    if let Some(name) = secret::first(path) {
        let message = format!("the secret `{name}` can't be part of a path");
        return Err(source.error(&text.span(), message).into());
    }
    let normal = normal(path)
        .map_err(|why| source.error(&text.span(), format!("the input `{path}` {why}")))?;
    if is_pattern(&normal)
        && let Err(e) = glob::Pattern::new(&normal)
    {
        let message = format!("the input `{path}` is no glob: {}", e.msg);
        return Err(source.error(&text.span(), message).into());
    }
    Ok(if path.ends_with('/') {
        normal + "/"
    } else {
        normal
    })
}

fn seconds(source: &Source, text: &Text) -> Result<u64> {
    let raw = text.get_ref();
    crate::config::units::seconds(raw).ok_or_else(|| {
        source
            .error(
                &text.span(),
                format!("`{raw}` is no time: write 90s, 20m or 2h"),
            )
            .into()
    })
}
