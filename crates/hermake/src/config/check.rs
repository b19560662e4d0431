//! What is wrong with a graph as a whole: cycles, two tasks with one output, inputs nobody is said to make.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::load::Instance;
use super::task::{Kind, Task};
use crate::fs::glob::is_pattern;

/// Checks the whole graph; `instances` say where each task is written. Notes which tasks of `after` make inputs.
pub fn graph(tasks: &mut [Task], instances: &[Instance<'_>]) -> Result<()> {
    let makers = makers(tasks, instances)?;
    let mut feeds = Vec::new();
    for (i, task) in tasks.iter().enumerate() {
        feeds.push(made_inputs(i, task, tasks, instances, &makers)?);
    }
    drop(makers);
    for (task, feeds) in tasks.iter_mut().zip(feeds) {
        task.feeds = feeds.into_iter().collect();
    }
    cycles(tasks, instances)
}

fn makers<'a>(tasks: &'a [Task], instances: &[Instance<'_>]) -> Result<BTreeMap<&'a str, usize>> {
    let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
    let clash = |i: usize, j: usize, path: &str| -> anyhow::Error {
        let message = format!(
            "`{}` and `{}` both make `{path}`",
            tasks[j].name, tasks[i].name
        );
        let span = instances[i]
            .raw
            .outputs
            .first()
            .map_or(instances[i].span.clone(), toml::Spanned::span);
        instances[i].source.error(&span, message).into()
    };
    for (i, task) in tasks.iter().enumerate() {
        for output in &task.outputs {
            if let Some(j) = makers.insert(&output.path, i) {
                return Err(clash(i, j, &output.path));
            }
        }
    }
    // an output inside another one: sorted, the outer comes first
    for (path, i) in &makers {
        let mut end = 0;
        while let Some(slash) = path[end..].find('/') {
            end += slash;
            if let Some(j) = makers.get(&path[..end]) {
                return Err(clash(*i, *j, &path[..end]));
            }
            end += 1;
        }
    }
    Ok(makers)
}

fn made_inputs(
    index: usize,
    task: &Task,
    tasks: &[Task],
    instances: &[Instance<'_>],
    makers: &BTreeMap<&str, usize>,
) -> Result<BTreeSet<usize>> {
    let mut feeds = BTreeSet::new();
    let instance = &instances[index];
    let refuse = |path: &str, maker: usize| -> anyhow::Error {
        let message = format!(
            "the input `{path}` is made by the task `{}`",
            tasks[maker].name
        );
        let span = instance
            .raw
            .inputs
            .iter()
            .find(|t| t.get_ref() == path)
            .map_or(instance.span.clone(), toml::Spanned::span);
        let help = format!(
            "add needs = [\"{0}\"], or after = [\"{0}\"] if only this file of it counts",
            tasks[maker].name
        );
        instance.source.error(&span, message).help(help).into()
    };
    let mut plain: Vec<&str> = Vec::new();
    for input in &task.inputs {
        if is_pattern(input) {
            if let Ok(pattern) = glob::Pattern::new(input) {
                for (path, maker) in makers {
                    let own = *maker == index || task.needs.contains(maker);
                    if !own && pattern.matches(path) {
                        if !task.after.contains(maker) {
                            return Err(refuse(input, *maker));
                        }
                        feeds.insert(*maker);
                    }
                }
            }
        } else {
            plain.push(input.trim_end_matches('/'));
        }
    }
    if let Kind::Render { template, context } = &task.kind {
        plain.push(template);
        plain.extend(context.iter().map(|(_, path)| path.as_str()));
    }
    for input in plain {
        // the output itself, one above it, or one below it
        let above = input
            .match_indices('/')
            .map(|(i, _)| &input[..i])
            .chain([input]);
        let exact = above.into_iter().find_map(|p| makers.get(p));
        let inner = format!("{input}/");
        let below = makers
            .range(inner.as_str()..)
            .next()
            .filter(|(path, _)| path.starts_with(&inner))
            .map(|(_, i)| i);
        if let Some(maker) = exact.or(below)
            && !task.needs.contains(maker)
        {
            if *maker == index {
                let message = format!("task `{}` has `{input}` as input and as output", task.name);
                return Err(instance.source.error(&instance.span, message).into());
            }
            if !task.after.contains(maker) {
                return Err(refuse(input, *maker));
            }
            feeds.insert(*maker);
        }
    }
    Ok(feeds)
}

fn cycles(tasks: &[Task], instances: &[Instance<'_>]) -> Result<()> {
    // 0 not seen, 1 on the path, 2 done; an explicit stack, since a chain may be long
    let mut mark = vec![0u8; tasks.len()];
    for start in 0..tasks.len() {
        if mark[start] != 0 {
            continue;
        }
        let mut stack = vec![(start, 0)];
        mark[start] = 1;
        while let Some((node, next)) = stack.pop() {
            let task = &tasks[node];
            let Some(&to) = task.needs.iter().chain(&task.after).nth(next) else {
                mark[node] = 2;
                continue;
            };
            stack.push((node, next + 1));
            if mark[to] == 1 {
                let from = stack.iter().position(|(n, _)| *n == to).unwrap_or(0);
                let mut names: Vec<_> = stack[from..]
                    .iter()
                    .map(|(n, _)| tasks[*n].name.as_str())
                    .collect();
                names.push(&tasks[to].name);
                let message = format!("tasks need each other: {}", shown(&names));
                return Err(instances[node]
                    .source
                    .error(&instances[node].span, message)
                    .into());
            }
            if mark[to] == 0 {
                mark[to] = 1;
                stack.push((to, 0));
            }
        }
    }
    Ok(())
}

/// So many names of a cycle are shown.
const SHOWN: usize = 12;

/// A cycle; of a long one its begin and its end.
fn shown(names: &[&str]) -> String {
    let Some(left) = names.len().checked_sub(SHOWN).filter(|n| *n > 0) else {
        return names.join(" → ");
    };
    let (first, last) = (&names[..SHOWN / 2], &names[names.len() - SHOWN / 2..]);
    let (first, last) = (first.join(" → "), last.join(" → "));
    format!("{first} → … and {left} more … → {last}")
}
