//! `hermake mk`: rules for GNU Make 3.81 to 4.4.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Graph;
use crate::fs::atomic;

/// Where the rules go if nothing else is said.
const DEFAULT: &str = "build/tasks.mk";

pub(super) fn mk(out: Option<&Path>) -> Result<u8> {
    let root = super::root()?;
    let graph = Graph::open(&root, true)?;
    let here = std::env::current_dir().context("the current folder")?;
    let path = out.map_or_else(|| root.join(DEFAULT), |p| here.join(p));
    let name = out.map_or_else(|| path.display().to_string(), |p| p.display().to_string());
    let program = std::env::current_exe().context("the path of this program")?;
    let rules = rules(&graph, &name, &program.display().to_string());
    // with --out it is Make that remakes its own file, and wants it newer than what it comes from
    if out.is_some() || fs::read_to_string(&path).ok().as_deref() != Some(&rules) {
        atomic::create_parent(&path)?;
        atomic::write(&path, rules.as_bytes())?;
    }
    if out.is_none() {
        super::print(&format!("{}\n", quoted(&name)))?;
    }
    Ok(0)
}

/// A name as Make wants it in a rule.
fn quoted(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '$' => out.push('$'),
            ' ' | '#' | ':' | '%' | '\\' => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

fn rules(graph: &Graph, own: &str, program: &str) -> String {
    let mut text = String::from(
        "# Written by `hermake mk`; edits are lost. One phony target per task, one target per output.\n",
    );
    // `+` passes the jobserver on and keeps -n and -q, which hermake answers itself;
    // no shell characters, so that Make starts hermake without a shell
    let _ = writeln!(text, "HERMAKE ?= {}", program.replace('$', "$$"));
    let watched: Vec<_> = graph
        .watched
        .iter()
        .map(|(p, _)| format!("$(wildcard {})", quoted(p)))
        .collect();
    // prerequisites only: the Makefile that includes this has the recipe, since it had to make the first one
    let _ = writeln!(text, "\n{}: {}\n", quoted(own), watched.join(" "));
    let names: Vec<_> = graph.tasks.iter().map(|t| t.name.as_str()).collect();
    // for the Makefile's own use, as in $(filter test-%,$(HERMAKE_TASKS))
    let _ = writeln!(text, "HERMAKE_TASKS := {}", names.join(" "));
    let _ = writeln!(text, ".PHONY: $(HERMAKE_TASKS)\n");
    for task in &graph.tasks {
        let list = |indices: &[usize]| {
            indices
                .iter()
                .map(|i| graph.tasks[*i].name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let needs = list(&task.needs);
        let after = list(&task.after);
        let _ = write!(text, "{}:", task.name);
        if !needs.is_empty() {
            let _ = write!(text, " {needs}");
        }
        if !after.is_empty() {
            let _ = write!(text, " | {after}");
        }
        let _ = writeln!(text, "\n\t+@$(HERMAKE) run --leaf {}", task.name);
        for output in &task.outputs {
            let slash = if output.dir { "/" } else { "" };
            let _ = writeln!(text, "{}{slash}: {} ;", quoted(&output.path), task.name);
        }
    }
    text
}
