//! `hermake status`.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::args::Status as Args;
use super::color::Paint;
use crate::engine::Engine;

/// A task's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// Nothing is to be done.
    Fresh,
    /// It would be restored: its result is in the store, and nothing would run.
    Restorable,
    /// It would run.
    Stale,
    /// It is looked at again after another task.
    Waits,
    /// It can't run.
    Error,
}

impl State {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Fresh => "ok",
            Self::Restorable => "kept",
            Self::Stale => "stale",
            Self::Waits => "waits",
            Self::Error => "error",
        }
    }

    pub(super) fn color(self) -> &'static str {
        match self {
            Self::Fresh => "32",
            Self::Restorable => "36",
            Self::Stale => "33",
            Self::Waits => "2",
            Self::Error => "1;31",
        }
    }
}

/// A task and its state.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Line {
    /// Its name.
    pub(super) task: String,
    /// `run`, `fetch`, `render` or `service`.
    pub(super) kind: &'static str,
    /// Whether it is up to date.
    pub(super) state: State,
    /// What would be done, and why.
    pub(super) detail: String,
    /// What it is for.
    pub(super) doc: String,
    /// What it makes, relative to the project's root.
    pub(super) outputs: Vec<String>,
}

/// The state of a task, given those of others that were asked for before.
pub(super) fn line(engine: &Engine, index: usize, seen: &mut HashMap<usize, bool>) -> Line {
    let task = engine.task(index);
    let waits = task
        .needs
        .iter()
        .chain(&task.feeds)
        .find(|n| !matches!(engine.fresh(**n, seen), Ok(true)));
    let (state, detail) = match waits {
        Some(need) => (State::Waits, format!("for {}", engine.task(*need).name)),
        None => match engine.stale(task) {
            Ok(None) => (State::Fresh, String::new()),
            Ok(Some(why)) => {
                let forecast = engine.forecast(task, why);
                let state = if forecast.restored {
                    State::Restorable
                } else {
                    State::Stale
                };
                (state, forecast.line())
            }
            Err(e) => (State::Error, format!("{e:#}")),
        },
    };
    Line {
        task: task.name.clone(),
        kind: task.kind.name(),
        state,
        detail,
        doc: task.doc.clone(),
        outputs: task.outputs.iter().map(|o| o.path.clone()).collect(),
    }
}

pub(super) fn status(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let wanted = if args.tasks.is_empty() {
        (0..engine.graph.tasks.len()).collect()
    } else {
        super::find(&engine, &args.tasks)?
    };
    let mut seen = HashMap::new();
    let lines: Vec<_> = wanted
        .iter()
        .map(|i| line(&engine, *i, &mut seen))
        .collect();
    if args.json {
        super::print_json(&lines)?;
        return Ok(0);
    }
    let width = lines.iter().map(|l| l.task.len()).max().unwrap_or(0);
    let paint = Paint::stdout();
    let mut text = String::new();
    for line in lines {
        let detail = if line.detail.is_empty() {
            line.doc
        } else {
            line.detail
        };
        let row = format!(
            "{:width$}  {}  {:7}  {detail}",
            line.task,
            paint.code(line.state.color(), &format!("{:5}", line.state.mark())),
            line.kind
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    super::print(&text)?;
    Ok(0)
}
