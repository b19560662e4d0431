//! Tera templates over declared values and files.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::Engine;
use super::bring::Taken;
use super::plan::Plan;
use crate::config::Task;
use crate::config::params::from_toml;
use crate::exec::stage::Use;
use crate::fs::glob;

/// So often a template is rendered if what it needs is replaced meanwhile.
const TRIES: u32 = 5;

impl Engine {
    pub(super) fn render(
        &self,
        task: &Task,
        template: &str,
        context: &[(String, String)],
        plan: &Plan,
    ) -> Result<Taken> {
        let stage = self.stages.take(Use::Outputs)?;
        stage.room_for(&task.outputs)?;
        let rendered = self.rendered_as_planned(task, template, context, plan)?;
        for output in &task.outputs {
            let path = stage.root().join(&output.path);
            fs::write(&path, &rendered).with_context(|| format!("writing {}", path.display()))?;
        }
        self.unchanged(task, plan)?;
        self.take_outputs(task, &stage.root())
    }

    /// The text that `template` gives with what `plan` says that it is made of.
    fn rendered_as_planned(
        &self,
        task: &Task,
        template: &str,
        context: &[(String, String)],
        plan: &Plan,
    ) -> Result<String> {
        for _ in 0..TRIES {
            let watched = self.watch_needed(plan)?;
            let text = self.rendered(task, template, context);
            if self.changed_since(&watched).is_none() {
                return text;
            }
        }
        bail!("what it needs keeps changing: nothing is recorded, run again")
    }

    /// The text that `template` gives.
    pub(super) fn rendered(
        &self,
        task: &Task,
        template: &str,
        context: &[(String, String)],
    ) -> Result<String> {
        let mut values = Map::new();
        for (dotted, json) in &task.params {
            let mut value = serde_json::from_str(json).context("a parameter")?;
            self.secrets().fill_json(&mut value);
            insert(&mut values, dotted, value);
        }
        for (name, path) in context {
            values.insert(name.clone(), self.context_file(path)?);
        }
        let read = |path: &str| {
            fs::read_to_string(self.root.join(path)).with_context(|| format!("reading {path}"))
        };
        let main = read(template)?;
        let mut tera = tera::Tera::default();
        tera.autoescape_on(Vec::<&str>::new());
        let dir = template.rsplit_once('/').map_or("", |d| d.0);
        let mut templates = vec![(template.to_owned(), main)];
        for input in self.includable(task, context)? {
            let path = self.root.join(&input);
            let bytes = fs::read(&path).with_context(|| format!("reading {input}"))?;
            // what isn't text can't be included
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            if let Some(name) = input.strip_prefix(dir).and_then(|n| n.strip_prefix('/')) {
                templates.push((name.to_owned(), text.clone()));
            }
            templates.push((input, text));
        }
        tera.add_raw_templates(templates).map_err(|e| explain(&e))?;
        let context = tera::Context::from_serialize(&Value::Object(values))
            .context("the template's values")?;
        tera.render(template, &context).map_err(|e| explain(&e))
    }

    /// The files that the template may include, by their path or by their path below its folder: declared inputs.
    fn includable(&self, task: &Task, context: &[(String, String)]) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        self.inputs_of(task, &mut found, &mut Vec::new())?;
        let mut found: BTreeSet<String> = found.iter().map(ToString::to_string).collect();
        // read as values
        found.retain(|path| context.iter().all(|(_, of)| of != path));
        // what another task makes is among none of the files found
        let named = task
            .inputs
            .iter()
            .filter(|i| !i.ends_with('/') && !glob::is_pattern(i));
        found.extend(named.cloned());
        Ok(found)
    }

    fn context_file(&self, path: &str) -> Result<Value> {
        let text =
            fs::read_to_string(self.root.join(path)).with_context(|| format!("reading {path}"))?;
        match path.rsplit_once('.').map(|p| p.1) {
            Some("toml") => {
                let table = toml::from_str(&text).with_context(|| format!("parsing {path}"))?;
                Ok(from_toml(toml::Value::Table(table)))
            }
            Some("json") => serde_json::from_str(&text).with_context(|| format!("parsing {path}")),
            _ => Ok(Value::String(text.trim().to_owned())),
        }
    }
}

fn insert(map: &mut Map<String, Value>, dotted: &str, value: Value) {
    match dotted.split_once('.') {
        None => {
            map.insert(dotted.to_owned(), value);
        }
        Some((first, rest)) => {
            let entry = map
                .entry(first.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

/// Tera names template, line and column itself.
fn explain(error: &tera::Error) -> anyhow::Error {
    let text = error.to_string();
    anyhow::anyhow!("{}", text.strip_prefix("error: ").unwrap_or(&text))
}
