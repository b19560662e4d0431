//! What names in a task's strings stand for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::params::{Params, canonical, scalar};
use super::raw::Text;
use super::source::{Source, nearest};
use super::task::{OUT_CLOSE, OUT_OPEN, Output};
use super::template::{Piece, pieces};

/// Values of `[vars]`.
pub type Vars = BTreeMap<String, String>;

/// A needed task as its dependant sees it.
#[derive(Debug)]
pub struct Need<'a> {
    /// Name of the task.
    pub name: &'a str,
    /// The text in `needs` that named it (a glob names several).
    pub by: usize,
    /// What it makes.
    pub outputs: &'a [Output],
}

/// Everything that a task's strings may name.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Where the strings are written.
    pub source: &'a Source,
    /// Parameter files.
    pub params: &'a Params,
    /// Variables.
    pub vars: &'a Vars,
    /// The element of `each`.
    pub item: Option<&'a Value>,
    /// Needed tasks; empty while outputs are worked out.
    pub needs: Vec<Need<'a>>,
    /// The texts of `needs`, expanded.
    pub need_texts: Vec<String>,
    /// Outputs of the task; empty while they are worked out.
    pub outputs: &'a [Output],
    /// Variables that were named.
    pub used_vars: RefCell<BTreeSet<String>>,
}

impl Scope<'_> {
    /// `text` with all names replaced.
    pub fn string(&self, text: &Text) -> Result<String> {
        let mut parts = self.expand(text)?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let message = format!(
            "`{}` stands for {} paths here; one is needed",
            text.get_ref(),
            parts.len()
        );
        Err(self.source.error(&text.span(), message).into())
    }

    /// `texts` with all names replaced; one that is just `{{ needs.X.outs }}` or `{{ outs }}`
    /// becomes as many strings as there are outputs.
    pub fn list(&self, texts: &[Text]) -> Result<Vec<String>> {
        let mut out = Vec::new();
        for text in texts {
            out.extend(self.expand(text)?);
        }
        Ok(out)
    }

    fn expand(&self, text: &Text) -> Result<Vec<String>> {
        let raw = text.get_ref();
        let span = text.span();
        // the text's first byte comes after its quote
        let place = |at: usize| span.start + 1 + at..span.end;
        if raw
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
        {
            return Err(self.source.error(&span, "a control character").into());
        }
        let pieces = pieces(raw)
            .map_err(|b| anyhow::Error::from(self.source.error(&place(b.at), b.message)))?;
        let mut out = String::new();
        let single = pieces.len() == 1;
        for piece in pieces {
            match piece {
                Piece::Text(t) => out.push_str(t),
                Piece::Name(name, at) => {
                    let mut values = self.value(name).map_err(|e| {
                        anyhow::Error::from(self.source.error(&place(at), format!("{e:#}")))
                    })?;
                    if single {
                        return Ok(values);
                    }
                    if values.len() != 1 {
                        let message = format!(
                            "`{name}` stands for {} paths; it has to stand alone in its string",
                            values.len()
                        );
                        return Err(self.source.error(&place(at), message).into());
                    }
                    out.push_str(&values.remove(0));
                }
            }
        }
        Ok(vec![out])
    }

    fn value(&self, name: &str) -> Result<Vec<String>> {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        match first {
            "needs" => self.need(rest),
            "out" | "outs" => self.own(first, rest),
            _ => {
                let value = self.json(name)?;
                let Some(text) = scalar(&value) else {
                    let keys = value
                        .as_object()
                        .map(|o| o.keys().cloned().collect::<Vec<_>>().join(", "));
                    bail!(
                        "`{name}` is a {}, not a text or number{}",
                        if value.is_array() { "list" } else { "table" },
                        keys.map(|k| format!("; it has {k}")).unwrap_or_default()
                    );
                };
                Ok(vec![text])
            }
        }
    }

    /// The value of a dotted name of `vars`, `item` or a parameter file.
    pub fn json(&self, name: &str) -> Result<Value> {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        match first {
            "vars" => {
                self.used_vars.borrow_mut().insert(rest.to_owned());
                match self.vars.get(rest) {
                    Some(value) => Ok(Value::String(value.clone())),
                    None => match nearest(rest, self.vars.keys().map(String::as_str)) {
                        Some(near) => {
                            bail!("`{rest}` is not in [vars]; did you mean `vars.{near}`?")
                        }
                        None => bail!("`{rest}` is not in [vars] of hermake.toml"),
                    },
                }
            }
            "item" => {
                let Some(mut here) = self.item else {
                    bail!("`item` is known only in tasks with `each`");
                };
                for part in rest.split('.').filter(|p| !p.is_empty()) {
                    let Some(next) = here.get(part) else {
                        bail!("the element has no `{part}`: {}", canonical(here));
                    };
                    here = next;
                }
                Ok(here.clone())
            }
            _ if self.params.has(first) => Ok(self.params.get(name)?.clone()),
            _ => {
                let known = ["needs", "out", "outs", "vars", "item"]
                    .into_iter()
                    .chain(self.params.names());
                match nearest(first, known) {
                    Some(near) => bail!("nothing is called `{first}`; did you mean `{near}`?"),
                    None => bail!(
                        "nothing is called `{first}` (parameter files are declared in hermake.toml)"
                    ),
                }
            }
        }
    }

    fn own(&self, word: &str, rest: &str) -> Result<Vec<String>> {
        let mark = |i: usize| format!("{OUT_OPEN}{i}{OUT_CLOSE}");
        match (word, rest, self.outputs.len()) {
            (_, _, 0) => bail!("the task has no outputs"),
            ("out", "", _) | ("outs", "0", _) => Ok(vec![mark(0)]),
            ("outs", "", count) => Ok((0..count).map(mark).collect()),
            ("outs", index, count) => match index.parse::<usize>() {
                Ok(i) if i < count => Ok(vec![mark(i)]),
                _ => bail!("`outs.{index}`: the task has {count} outputs, counted from 0"),
            },
            _ => bail!("`{word}.{rest}` is nothing; write `out` or `outs.1`"),
        }
    }

    fn need(&self, rest: &str) -> Result<Vec<String>> {
        let mut parts = rest.splitn(2, '.');
        let name = parts.next().unwrap_or("");
        let what = parts.next().unwrap_or("");
        let by_index = name.parse::<usize>().ok();
        let by_text = self.need_texts.iter().position(|t| t == name);
        let found: Vec<_> = self
            .needs
            .iter()
            .filter(|n| by_index == Some(n.by) || by_text == Some(n.by) || n.name == name)
            .collect();
        if found.is_empty() && by_text.is_none() {
            match nearest(name, self.needs.iter().map(|n| n.name)) {
                Some(near) => bail!("`{name}` is not in `needs`; did you mean `needs.{near}`?"),
                None => bail!("`{name}` is not in the `needs` of this task"),
            }
        }
        let paths: Vec<_> = found
            .iter()
            .flat_map(|n| n.outputs)
            .map(|o| o.path.clone())
            .collect();
        match what {
            "outs" => Ok(paths),
            "out" if found.len() == 1 && !paths.is_empty() => Ok(vec![paths[0].clone()]),
            "out" => bail!("`{name}` stands for {} outputs; write `outs`", paths.len()),
            _ => match what
                .strip_prefix("outs.")
                .and_then(|i| i.parse::<usize>().ok())
            {
                Some(i) if i < paths.len() => Ok(vec![paths[i].clone()]),
                Some(i) => bail!(
                    "`outs.{i}`: {name} has {} outputs, counted from 0",
                    paths.len()
                ),
                None => bail!("of a need there is `out`, `outs` and `outs.N`, not `{what}`"),
            },
        }
    }
}

impl Scope<'_> {
    /// One entry of `inputs`, which may stand for several.
    pub fn expand_inputs(&self, text: &Text) -> Result<Vec<String>> {
        self.list(std::slice::from_ref(text))
    }
}
