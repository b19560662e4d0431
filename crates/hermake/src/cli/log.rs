//! `hermake log`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::args::Log as Args;
use crate::config::units::seconds;
use crate::engine::Engine;
use crate::runlog::read::{self, Parsed};
use crate::runlog::{Ending, Event, Indexed, time};

pub(super) fn log(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let entries = select(args, read::index(&engine.folder()))?;
    if let Some(grep) = &args.grep {
        return search(args, &engine, &entries, grep);
    }
    match &args.task {
        Some(task) => show(args, &engine, task, &entries),
        None => list(args, &entries),
    }
}

fn select(args: &Args, mut entries: Vec<Indexed>) -> Result<Vec<Indexed>> {
    if let Some(text) = &args.since {
        let age = seconds(text).with_context(|| format!("`{text}` is no time like 2h"))?;
        let from = time::seconds().saturating_sub(age);
        entries.retain(|e| e.started >= from);
    }
    if args.last {
        let last = entries.last().map(|e| e.run.clone());
        entries.retain(|e| Some(&e.run) == last.as_ref());
    }
    if let Some(run) = &args.run {
        entries.retain(|e| e.run.starts_with(run.as_str()));
    }
    if let Some(task) = &args.task {
        entries.retain(|e| e.task == *task || e.id == *task);
    }
    if args.failed {
        entries.retain(|e| e.ending != Ending::Ok);
    }
    Ok(entries)
}

fn list(args: &Args, entries: &[Indexed]) -> Result<u8> {
    let mut text = String::new();
    for entry in entries {
        if args.json {
            let _ = writeln!(
                text,
                "{}",
                serde_json::to_string(entry).context("encoding")?
            );
        } else {
            let ending = match entry.ending {
                Ending::Ok => "ok    ",
                Ending::Failed => "FAILED",
                Ending::Interrupted => "stopped",
            };
            let why = if entry.what.is_empty() {
                &entry.why
            } else {
                &entry.what
            };
            let (when, took) = (time::readable(entry.started), time::span(entry.took));
            let _ = writeln!(
                text,
                "{when}  {ending}  {took:>9}  {}: {why}  ({})",
                entry.task, entry.run
            );
        }
    }
    super::print(&text)?;
    Ok(0)
}

fn wanted(args: &Args, event: &Event) -> bool {
    !args.stderr || event.s == 'e'
}

fn shown(args: &Args, log: &Parsed, from: usize) -> Result<String> {
    let mut text = String::new();
    for event in log.events.iter().skip(from).filter(|e| wanted(args, e)) {
        if args.json {
            let _ = writeln!(
                text,
                "{}",
                serde_json::to_string(event).context("encoding")?
            );
        } else {
            let mark = if event.s == 'h' { "hermake: " } else { "" };
            let _ = writeln!(text, "{mark}{}", event.l);
        }
    }
    Ok(text)
}

fn show(args: &Args, engine: &Engine, task: &str, entries: &[Indexed]) -> Result<u8> {
    let index = engine.graph.find(task);
    let state = index.and_then(|i| engine.state().task(&engine.task(i).id));
    if args.follow {
        return follow(args, engine, index.map_or(task, |i| &engine.task(i).id));
    }
    // a result from the store was made elsewhere: its log came with it
    let replay = state
        .filter(|s| s.run.is_none() && entries.last().is_none_or(|e| e.ending == Ending::Ok))
        .and_then(|s| engine.store.record(&s.key));
    if let Some(record) = replay.filter(|_| args.run.is_none()) {
        if !args.json {
            let when = time::readable(record.made);
            super::print(&format!(
                "# replay: made {when} UTC in {}\n",
                time::span(record.took)
            ))?;
        }
        let log = read::parse(&String::from_utf8_lossy(&record.log));
        super::print(&shown(args, &log, 0)?)?;
        return Ok(0);
    }
    let Some(entry) = entries.last() else {
        bail!("`{task}` has no log here: it has not run, or its run is too old");
    };
    let log = read::log(&engine.folder(), entry)?;
    if !args.json {
        let when = time::readable(entry.started);
        super::print(&format!(
            "# {when} UTC, {}, because: {}\n",
            time::span(entry.took),
            entry.why
        ))?;
    }
    super::print(&shown(args, &log, 0)?)?;
    Ok(0)
}

/// Shows what is added to the newest log of a task, until interrupted.
fn follow(args: &Args, engine: &Engine, id: &str) -> Result<u8> {
    let runs = engine.folder().join("runs");
    let name = format!("{}.log", id.replace(['/', '\\'], "_"));
    let newest = || {
        std::fs::read_dir(&runs)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path().join(&name))
            .filter(|p| p.is_file())
            .max()
    };
    let mut told: HashMap<std::path::PathBuf, usize> = HashMap::new();
    loop {
        if let Some(path) = newest() {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            let log = read::parse(whole);
            let from = told.entry(path).or_default();
            super::print(&shown(args, &log, *from)?)?;
            *from = log.events.len();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn search(args: &Args, engine: &Engine, entries: &[Indexed], grep: &str) -> Result<u8> {
    let mut text = String::new();
    for entry in entries {
        let Ok(log) = read::log(&engine.folder(), entry) else {
            continue;
        };
        for event in log
            .events
            .iter()
            .filter(|e| wanted(args, e) && e.l.contains(grep))
        {
            let _ = writeln!(text, "{} {}: {}", entry.run, entry.task, event.l);
        }
    }
    super::print(&text)?;
    Ok(0)
}
