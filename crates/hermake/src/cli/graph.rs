//! `hermake graph`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::args::{Form, Graph as Args};
use super::color::Paint;
use super::status::{Line, line};
use super::svg::{self, Node as Box};
use crate::engine::Engine;

pub(super) fn graph(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let wanted = if args.tasks.is_empty() {
        let needed: HashSet<usize> = engine
            .graph
            .tasks
            .iter()
            .flat_map(|t| t.needs.iter().chain(&t.after))
            .copied()
            .collect();
        (0..engine.graph.tasks.len())
            .filter(|i| !needed.contains(i))
            .collect()
    } else {
        super::find(&engine, &args.tasks)?
    };
    let order = engine.closure(&wanted);
    let text = match args.form {
        Form::Tree => tree(&engine, &wanted),
        Form::Dot => dot(&engine, &order),
        Form::Mermaid => mermaid(&engine, &order),
        Form::Json => json_form(&engine, &order)?,
        Form::Svg => svg(&engine, &order),
    };
    super::print(&text)?;
    Ok(0)
}

fn tree(engine: &Engine, wanted: &[usize]) -> String {
    let mut seen = HashMap::new();
    let mut shown = HashSet::new();
    let mut text = String::new();
    let paint = Paint::stdout();
    // an explicit stack: a chain of tasks may be long
    let mut stack: Vec<(usize, usize)> = wanted.iter().rev().map(|i| (*i, 0)).collect();
    while let Some((index, depth)) = stack.pop() {
        let line = line(engine, index, &mut seen);
        let again = !shown.insert(index) && !engine.task(index).needs.is_empty();
        let detail = if line.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", line.detail)
        };
        let more = if again { " (needs as above)" } else { "" };
        let _ = writeln!(
            text,
            "{}{} [{}{detail}]{more}",
            "  ".repeat(depth),
            line.task,
            paint.code(line.state.color(), line.state.mark())
        );
        if !again {
            stack.extend(
                engine
                    .task(index)
                    .needs
                    .iter()
                    .rev()
                    .map(|n| (*n, depth + 1)),
            );
        }
    }
    text
}

fn dot(engine: &Engine, order: &[usize]) -> String {
    let mut text = String::from("digraph tasks {\n  rankdir=LR;\n  node [shape=box];\n");
    for index in order {
        let task = engine.task(*index);
        let _ = writeln!(text, "  \"{}\";", task.name);
        for need in &task.needs {
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\";",
                engine.task(*need).name,
                task.name
            );
        }
        for after in &task.after {
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\" [style=dashed];",
                engine.task(*after).name,
                task.name
            );
        }
    }
    text + "}\n"
}

fn mermaid(engine: &Engine, order: &[usize]) -> String {
    let mut text = String::from("graph LR\n");
    for index in order {
        let task = engine.task(*index);
        let _ = writeln!(text, "  t{index}[\"{}\"]", task.name);
        for need in &task.needs {
            let _ = writeln!(text, "  t{need} --> t{index}");
        }
        for after in &task.after {
            let _ = writeln!(text, "  t{after} -.-> t{index}");
        }
    }
    text
}

fn svg(engine: &Engine, order: &[usize]) -> String {
    let mut seen = HashMap::new();
    let place: HashMap<usize, usize> = order.iter().enumerate().map(|(p, i)| (*i, p)).collect();
    let places = |list: &[usize]| list.iter().filter_map(|i| place.get(i).copied()).collect();
    let nodes: Vec<_> = order
        .iter()
        .map(|index| {
            let task = engine.task(*index);
            let line = line(engine, *index, &mut seen);
            Box {
                name: line.task,
                state: line.state,
                detail: line.detail,
                needs: places(&task.needs),
                after: places(&task.after),
            }
        })
        .collect();
    svg::svg(&nodes)
}

/// A task of the graph.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Node {
    #[serde(flatten)]
    line: Line,
    /// Tasks whose outputs it uses.
    needs: Vec<String>,
    /// Tasks that come before it.
    after: Vec<String>,
}

fn json_form(engine: &Engine, order: &[usize]) -> Result<String> {
    let mut seen = HashMap::new();
    let names = |list: &[usize]| {
        list.iter()
            .map(|i| engine.task(*i).name.clone())
            .collect::<Vec<_>>()
    };
    let tasks: Vec<_> = order
        .iter()
        .map(|index| {
            let task = engine.task(*index);
            Node {
                line: line(engine, *index, &mut seen),
                needs: names(&task.needs),
                after: names(&task.after),
            }
        })
        .collect();
    Ok(serde_json::to_string_pretty(&tasks).context("encoding the graph")? + "\n")
}
