//! `hermake why`.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use super::args::Why as Args;
use crate::engine::why::Why;
use crate::runlog;

#[derive(Serialize)]
struct Answer {
    task: String,
    up_to_date: bool,
    waits_for: Vec<String>,
    would: Option<Why>,
    last_run: Option<runlog::Indexed>,
}

pub(super) fn why(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let index = super::find_one(&engine, &args.task)?;
    let task = engine.task(index);
    let mut seen = HashMap::new();
    let mut waits_for = Vec::new();
    for need in task.needs.iter().chain(&task.feeds) {
        if !engine.fresh(*need, &mut seen)? {
            waits_for.push(engine.task(*need).name.clone());
        }
    }
    let would = if waits_for.is_empty() {
        engine.stale(task)?
    } else {
        None
    };
    let last_run = runlog::read::index(&engine.folder())
        .into_iter()
        .rfind(|i| i.id == task.id);
    let answer = Answer {
        task: task.name.clone(),
        up_to_date: waits_for.is_empty() && would.is_none(),
        waits_for,
        would,
        last_run,
    };
    if args.json {
        let text = serde_json::to_string_pretty(&answer).context("encoding the answer")?;
        super::print(&(text + "\n"))?;
        return Ok(0);
    }
    super::print(&shown(&answer))?;
    Ok(0)
}

fn shown(answer: &Answer) -> String {
    let mut text = String::new();
    let name = &answer.task;
    if let Some(why) = &answer.would {
        let _ = writeln!(text, "{name} would run: {}", why.line());
        if let Why::Changed { changes } = why {
            for change in changes {
                let _ = writeln!(text, "  {}", change.line());
                for (sign, value) in [("-", &change.before), ("+", &change.after)] {
                    if let Some(value) = value {
                        let _ = writeln!(text, "    {sign} {}: {value}", change.name);
                    }
                }
            }
        }
    } else if answer.up_to_date {
        let _ = writeln!(text, "{name} is up to date");
    } else {
        let _ = writeln!(
            text,
            "{name} is looked at again after {}",
            answer.waits_for.join(", ")
        );
    }
    match &answer.last_run {
        Some(run) => {
            let when = runlog::time::readable(run.started);
            let took = runlog::time::span(run.took);
            let _ = writeln!(text, "last ran {when} UTC, {took}, because: {}", run.why);
        }
        None => text.push_str("has not run in this checkout\n"),
    }
    text
}
