//! `hermake mk`: rules for GNU Make 3.81 to 4.4.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::{Graph, Task, written};
use crate::fs::atomic;

/// Where the rules go if nothing else is said.
const DEFAULT: &str = "build/tasks.mk";
/// What Make is given instead if there can be no rules: without, it would go on with what is there.
const REFUSAL: &str = "build/.hermake/refusal.mk";
/// The same, where not even that can be written: Make stops at a name that isn't there.
const NOTHING: &str = "hermake-mk-has-failed";

/// Writes the rules: to `out`, which Make remakes; or to their usual place, printing its name, for
/// `include $(shell hermake mk)`. `moved` says that the caller's folder is another one.
pub(super) fn mk(out: Option<&Path>, moved: bool) -> Result<u8> {
    let Some(out) = out else {
        let (name, done) = included(moved);
        // of all that Make's rules need quoted, `include` knows only this
        super::print(&format!("{}\n", name.replace(' ', "\\ ")))?;
        return done.map(|()| 0);
    };
    let rules = rules(&super::root()?, &out.display().to_string())?;
    // it is Make that remakes its own file, and wants it newer than what it comes from
    atomic::create_parent(out)?;
    atomic::write(out, rules.as_bytes())?;
    Ok(0)
}

/// The name of a file to include, whatever happens.
fn included(moved: bool) -> (String, Result<()>) {
    let root = match super::root() {
        Ok(root) => root,
        Err(e) => return (NOTHING.to_owned(), Err(e)),
    };
    // a short name, if it will do, holds nothing that Make can't read
    let near = !moved && std::env::current_dir().is_ok_and(|here| here == root);
    let name = |file: &str| {
        if near {
            file.to_owned()
        } else {
            root.join(file).display().to_string()
        }
    };
    match rules(&root, &name(DEFAULT)).and_then(|rules| put(&root.join(DEFAULT), &rules)) {
        Ok(()) => (name(DEFAULT), Ok(())),
        Err(e) => {
            let text = "$(error `hermake mk` has failed: it says why above)\n";
            let written = put(&root.join(REFUSAL), text);
            let file = written.map_or(NOTHING.to_owned(), |()| name(REFUSAL));
            (file, Err(e))
        }
    }
}

/// Writes `text` if it isn't there already.
fn put(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).ok().as_deref() == Some(text) {
        return Ok(());
    }
    atomic::create_parent(path)?;
    atomic::write(path, text.as_bytes())
}

/// A name as Make wants it in a rule.
fn quoted(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '$' => out.push('$'),
            ' ' | '#' | ':' | '%' => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

/// True if Make can be told of this name at all.
fn can_be_told(name: &str) -> bool {
    !name.contains(|c: char| c.is_control() || ";=\\*?[]~()|&".contains(c))
        // .PHONY and the like, and what looks like a rule by suffixes
        && (name == "." || !name.starts_with('.') || name.contains('/'))
}

/// A prerequisite that is one only while it is there.
fn watched(name: &str) -> String {
    let plain = quoted(name);
    if plain == name {
        return format!("$(wildcard {name})");
    }
    // what `wildcard` gives isn't quoted again; whether `#` is to be quoted in it depends on Make's version; and
    // `%` is special in targets only
    let asked = name.replace('$', "$$").replace(' ', "\\ ");
    let asked = asked.replace('#', "$(HERMAKE_HASH)");
    let plain = plain.replace("\\#", "$(HERMAKE_HASH)").replace("\\%", "%");
    format!("$(if $(wildcard {asked}),{plain})")
}

/// A program's path as a word of a recipe.
fn word(program: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    let word = if program.chars().all(plain) {
        program.to_owned()
    } else {
        format!("'{}'", program.replace('\'', "'\\''"))
    };
    word.replace('$', "$$").replace('#', "\\#")
}

fn rules(root: &Path, own: &str) -> Result<String> {
    let graph = Graph::open(root, true)?;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut text = String::from(
        "# Written by `hermake mk`; edits are lost. One phony target per task, one target per output.\n",
    );
    let _ = writeln!(text, "HERMAKE ?= {}", word(&program.display().to_string()));
    let _ = writeln!(text, "HERMAKE_HASH := \\#");
    // what `make` alone means is for the Makefile to say, wherever it includes this
    let _ = writeln!(text, "HERMAKE_GOAL := $(.DEFAULT_GOAL)");
    let names = graph.watched.iter().map(|(name, _)| name.as_str());
    let from: Vec<_> = names.filter(|n| can_be_told(n)).map(watched).collect();
    // prerequisites only: the Makefile that includes this has the recipe, since it had to make the first one
    let _ = writeln!(text, "\n{}: {}\n", quoted(own), from.join(" "));
    let names: Vec<_> = graph.tasks.iter().map(|t| t.name.as_str()).collect();
    // for the Makefile's own use, as in $(filter test-%,$(HERMAKE_TASKS))
    let _ = writeln!(text, "HERMAKE_TASKS := {}", names.join(" "));
    let _ = writeln!(text, ".PHONY: $(HERMAKE_TASKS)\n");
    let tasks: HashSet<&str> = names.into_iter().collect();
    for task in &graph.tasks {
        rule(&mut text, &graph, task);
        outputs(&mut text, root, task, &tasks)?;
    }
    let _ = writeln!(text, "\nifndef HERMAKE_GOAL\n.DEFAULT_GOAL :=\nendif");
    Ok(text)
}

/// The rule of a task. `+` passes the jobserver on and keeps -n and -q, which hermake answers itself; no shell
/// characters, so that Make starts hermake without a shell; no tab, which the Makefile may have replaced by
/// `.RECIPEPREFIX`.
fn rule(text: &mut String, graph: &Graph, task: &Task) {
    let list = |indices: &[usize]| {
        let names = indices.iter().map(|i| graph.tasks[*i].name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let (needs, after) = (list(&task.needs), list(&task.after));
    let _ = write!(text, "{}:", task.name);
    if !needs.is_empty() {
        let _ = write!(text, " {needs}");
    }
    if !after.is_empty() {
        let _ = write!(text, " | {after}");
    }
    let _ = writeln!(text, " ; +@$(HERMAKE) run --leaf {}", task.name);
}

/// The rules of a task's outputs; `tasks` are all names that are targets already.
fn outputs(text: &mut String, root: &Path, task: &Task, tasks: &HashSet<&str>) -> Result<()> {
    for output in &task.outputs {
        let path = output.path.as_str();
        if !output.dir && path != task.name && tasks.contains(path) {
            let message = format!(
                "the output `{path}` of `{}` is called as the task `{path}`, and both are targets of Make: give one of them another name",
                task.name
            );
            return Err(written::error(root, &task.at, path, message, &[]));
        }
        // the task's own target makes a file of its name
        if can_be_told(path) && path != task.name {
            let slash = if output.dir { "/" } else { "" };
            let _ = writeln!(text, "{}{slash}: {} ;", quoted(path), task.name);
        }
    }
    Ok(())
}
