//! `hermake log`.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::args::Log as Args;
use super::{color, follow};
use crate::config::units::seconds;
use crate::engine::Engine;
use crate::runlog::read::{self, Parsed};
use crate::runlog::{Ending, Event, Indexed, time};

pub(super) fn log(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    if args.follow {
        return follow::follow(args, &engine);
    }
    let entries = select(args, read::index_with_open(&engine.folder()))?;
    if let Some(grep) = &args.grep {
        return search(args, &engine, &entries, grep);
    }
    if args.runs {
        return runs(&entries);
    }
    match &args.task {
        Some(task) => show(args, &engine, task, &entries),
        None => list(args, &entries),
    }
}

fn select(args: &Args, mut entries: Vec<Indexed>) -> Result<Vec<Indexed>> {
    if let Some(text) = &args.since {
        let age = seconds(text).with_context(|| format!("`{text}` is no time like 2h"))?;
        let from = time::now_us().saturating_sub(age.saturating_mul(1_000_000));
        entries.retain(|e| e.started_us >= from);
    }
    if args.last {
        let last = entries.last().map(|e| e.run.clone());
        entries.retain(|e| Some(&e.run) == last.as_ref());
    }
    if let Some(run) = &args.run {
        entries.retain(|e| e.run.starts_with(run.as_str()));
        if entries.is_empty() {
            bail!("there is no run `{run}` here: `hermake log` lists them");
        }
    }
    if let Some(task) = &args.task {
        entries.retain(|e| e.task == *task || e.id == *task);
    }
    if args.failed {
        entries.retain(|e| !matches!(e.ending, Ending::Ok | Ending::Restored | Ending::Open));
    }
    Ok(entries)
}

fn list(args: &Args, entries: &[Indexed]) -> Result<u8> {
    let paint = color::Paint::stdout();
    let mut text = String::new();
    for entry in entries {
        if args.json {
            let _ = writeln!(text, "{}", super::json_line(entry)?);
            continue;
        }
        let why = if entry.what.is_empty() {
            &entry.why
        } else {
            &entry.what
        };
        let when = time::readable(entry.started_us / 1_000_000);
        let took = time::span(entry.took_us / 1000);
        let ending = paint.ending(entry.ending, &format!("{:8}", entry.ending.name()));
        let _ = writeln!(
            text,
            "{when}  {ending}  {took:>9}  {}: {why}  ({})",
            entry.task, entry.run
        );
    }
    super::print(&text)?;
    Ok(0)
}

/// A line for each run: when, how long, how many tasks.
fn runs(entries: &[Indexed]) -> Result<u8> {
    let mut runs: Vec<(&str, Vec<&Indexed>)> = Vec::new();
    for entry in entries {
        match runs.iter_mut().find(|(run, _)| *run == entry.run) {
            Some((_, list)) => list.push(entry),
            None => runs.push((&entry.run, vec![entry])),
        }
    }
    let mut text = String::new();
    for (run, list) in runs {
        let started = list.iter().map(|e| e.started_us).min().unwrap_or(0);
        let ended = list
            .iter()
            .map(|e| e.started_us + e.took_us)
            .max()
            .unwrap_or(0);
        let count = |ending| list.iter().filter(|e| e.ending == ending).count();
        let when = time::readable(started / 1_000_000);
        let took = time::span((ended - started) / 1000);
        let restored = count(Ending::Restored);
        let _ = write!(text, "{when}  {took:>12}  {} ran", list.len() - restored);
        let others = [
            (restored, "restored"),
            (count(Ending::Failed), "failed"),
            (count(Ending::Interrupted), "stopped"),
            (count(Ending::Open), "without end"),
        ];
        for (number, what) in others.iter().filter(|o| o.0 > 0) {
            let _ = write!(text, ", {number} {what}");
        }
        let _ = writeln!(text, "  ({run})");
    }
    super::print(&text)?;
    Ok(0)
}

pub(super) fn wanted(args: &Args, event: &Event) -> bool {
    (!args.stderr || event.s == 'e') && args.grep.as_ref().is_none_or(|g| event.l.contains(g))
}

/// An event as it is shown.
pub(super) fn shown_event(args: &Args, event: &Event) -> Result<String> {
    if args.json {
        return super::json_line(event);
    }
    let mark = if event.s == 'h' { "hermake: " } else { "" };
    Ok(format!("{mark}{}", event.l))
}

fn shown(args: &Args, log: &Parsed) -> Result<String> {
    let mut text = String::new();
    for event in log.events.iter().filter(|e| wanted(args, e)) {
        let _ = writeln!(text, "{}", shown_event(args, event)?);
    }
    Ok(text)
}

fn show(args: &Args, engine: &Engine, task: &str, entries: &[Indexed]) -> Result<u8> {
    if let Some(entry) = entries.iter().rfind(|e| e.ending != Ending::Restored)
        && (args.run.is_some() || entries.last().is_some_and(|e| e.ending != Ending::Restored))
    {
        let log = read::log(&engine.folder(), entry)?;
        if !args.json {
            let when = time::readable(entry.started_us / 1_000_000);
            let took = time::span(entry.took_us / 1000);
            super::print(&format!("# {when} UTC, {took}, because: {}\n", entry.why))?;
        }
        super::print(&shown(args, &log)?)?;
        return Ok(0);
    }
    // what was restored was made elsewhere, or before: its log came with it
    let index = engine.graph.find(task);
    let record = index
        .and_then(|i| engine.state().task(&engine.task(i).id))
        .and_then(|state| engine.store.record(&state.key));
    if let Some(record) = record.filter(|_| !args.failed) {
        if !args.json {
            let when = time::readable(record.made);
            let took = time::span(record.took);
            super::print(&format!("# replay: made {when} UTC in {took}\n"))?;
        }
        super::print(&shown(args, &read::parse(&record.log))?)?;
        return Ok(0);
    }
    if index.is_none() {
        super::find_one(engine, task)?;
    }
    let failed = if args.failed { " of a failure" } else { "" };
    bail!("`{task}` has no log{failed} here: it has not run, or its run is too old")
}

/// A line of a log that was found.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Hit<'a> {
    /// The run.
    run: &'a str,
    /// The task.
    task: &'a str,
    /// The line.
    #[serde(flatten)]
    event: &'a Event,
}

fn search(args: &Args, engine: &Engine, entries: &[Indexed], grep: &str) -> Result<u8> {
    let mut text = String::new();
    for entry in entries.iter().filter(|e| !e.log.is_empty()) {
        let Ok(log) = read::log(&engine.folder(), entry) else {
            continue;
        };
        let found = log
            .events
            .iter()
            .filter(|e| wanted(args, e) && e.l.contains(grep));
        for event in found {
            let hit = Hit {
                run: &entry.run,
                task: &entry.task,
                event,
            };
            if args.json {
                let _ = writeln!(text, "{}", super::json_line(&hit)?);
            } else {
                let _ = writeln!(text, "{} {}: {}", entry.run, entry.task, event.l);
            }
        }
    }
    super::print(&text)?;
    Ok(0)
}
