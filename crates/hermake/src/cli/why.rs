//! `hermake why`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use similar::TextDiff;

use super::args::Why as Args;
use super::color::Paint;
use crate::engine::Engine;
use crate::engine::why::Why;
use crate::fs::Digest;
use crate::manifest::{Change, Group};
use crate::runlog::{self, Ending, Indexed};

/// Lines of a diff that are shown.
const DIFF_LINES: usize = 60;
/// A diff that takes longer is a coarse one.
const DIFF_TIME: Duration = Duration::from_millis(500);

/// Why a task would run, and why it ran.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Answer {
    /// The task.
    task: String,
    /// Nothing is to be done.
    up_to_date: bool,
    /// Needed tasks that are not up to date: it is looked at again after them.
    waits_for: Vec<String>,
    /// Why it is not up to date.
    would: Option<Why>,
    /// Its result is in the store: it would be restored instead of run.
    would_be_restored: bool,
    /// Its last run in this checkout.
    last_run: Option<Indexed>,
    /// Why that was.
    last_why: Option<Why>,
}

pub(super) fn why(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let index = super::find_one(&engine, &args.task)?;
    let answer = answer(&engine, index)?;
    if args.json {
        super::print_json(&answer)?;
    } else {
        super::print(&shown(&engine, &answer))?;
    }
    Ok(0)
}

fn answer(engine: &Engine, index: usize) -> Result<Answer> {
    let task = engine.task(index);
    let mut seen = HashMap::new();
    let mut waits_for = Vec::new();
    for need in task.needs.iter().chain(&task.feeds) {
        if !engine.fresh(*need, &mut seen)? {
            waits_for.push(engine.task(*need).name.clone());
        }
    }
    let stale = if waits_for.is_empty() {
        engine.stale(task)?
    } else {
        None
    };
    let forecast = stale.map(|why| engine.forecast(task, why));
    let last_run = runlog::read::index(&engine.folder())
        .into_iter()
        .rfind(|i| i.id == task.id && i.ending != Ending::Restored);
    let last_log = last_run
        .as_ref()
        .and_then(|entry| runlog::read::log(&engine.folder(), entry).ok());
    Ok(Answer {
        task: task.name.clone(),
        up_to_date: waits_for.is_empty() && forecast.is_none(),
        waits_for,
        would_be_restored: forecast.as_ref().is_some_and(|f| f.restored),
        would: forecast.map(|f| f.why),
        last_run,
        last_why: last_log.and_then(|log| log.header).map(|h| h.why),
    })
}

fn shown(engine: &Engine, answer: &Answer) -> String {
    let mut text = String::new();
    let name = &answer.task;
    if let Some(why) = &answer.would {
        let what = if answer.would_be_restored {
            "would be restored"
        } else {
            "would run"
        };
        let _ = writeln!(text, "{name} {what}: {}", why.line());
        changes(engine, why, &mut text);
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
            let when = runlog::time::readable(run.started_us / 1_000_000);
            let took = runlog::time::span(run.took_us / 1000);
            let _ = writeln!(text, "last ran {when} UTC, {took}, because: {}", run.why);
            // details of the last run only if there are none of the next
            if let (None, Some(why)) = (&answer.would, &answer.last_why) {
                changes(engine, why, &mut text);
            }
        }
        None => text.push_str("has not run in this checkout\n"),
    }
    text
}

fn changes(engine: &Engine, why: &Why, text: &mut String) {
    let Why::Changed { changes } = why else {
        return;
    };
    for change in changes {
        let _ = writeln!(text, "  {}", change.line());
        if let Some(diff) = diff(engine, change) {
            text.push_str(&diff);
            continue;
        }
        for (sign, value) in [("-", &change.before), ("+", &change.after)] {
            if let Some(value) = value {
                let value = change.shown(value).replace('\n', "\n      ");
                let _ = writeln!(text, "    {sign} {}: {value}", change.name);
            }
        }
    }
}

/// The difference of two texts of an input or a needed output, or of a long value, if both are known.
fn diff(engine: &Engine, change: &Change) -> Option<String> {
    let known = |find: &dyn Fn(Digest) -> Option<String>| {
        let (before, after) = change.digests();
        Some((find(before?)?, find(after?)?))
    };
    let (before, after) = match change.group {
        Group::Input => known(&|digest| engine.texts().find(&engine.root, &change.name, &digest))?,
        Group::Need => known(&|digest| engine.output_text(&change.name, &digest))?,
        _ => {
            let (before, after) = (change.before.clone()?, change.after.clone()?);
            if !before.contains('\n') && !after.contains('\n') {
                return None;
            }
            (before, after)
        }
    };
    if before == after {
        // the same text: it was the mode that changed
        return Some("    the executable bit changed\n".to_owned());
    }
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME)
        .diff_lines(&before, &after);
    let paint = Paint::stdout();
    let whole = diff.unified_diff().context_radius(2).to_string();
    let mut out = String::new();
    // not `lines`, which takes away what may be all that differs
    for line in whole.split_terminator('\n').take(DIFF_LINES) {
        let code = match line.as_bytes().first() {
            Some(b'-') => "31",
            Some(b'+') => "32",
            Some(b'@') => "36",
            _ => "",
        };
        let line = line.replace('\r', "␍");
        let _ = writeln!(out, "    {}", paint.code(code, &line));
    }
    let more = whole
        .split_terminator('\n')
        .count()
        .saturating_sub(DIFF_LINES);
    if more > 0 {
        let _ = writeln!(out, "    … and {more} more lines");
    }
    Some(out)
}
