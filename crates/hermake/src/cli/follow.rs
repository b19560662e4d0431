//! `hermake log --follow`: what is added to logs, until interrupted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::args::Log as Args;
use super::log::{shown_event, wanted};
use crate::engine::Engine;
use crate::runlog::read;

/// How often logs are looked at.
const EVERY: Duration = Duration::from_millis(200);

pub(super) fn follow(args: &Args, engine: &Engine) -> Result<u8> {
    let mut told: HashMap<PathBuf, usize> = HashMap::new();
    // the newest log, or without --task the newest run, is shown from its start
    let mut first = newest(args, engine);
    loop {
        for folder in read::folders(&engine.folder()) {
            if first.as_ref().is_some_and(|f| folder < *f) || !of_run(args, &folder) {
                continue;
            }
            for path in logs(&folder) {
                news(args, &path, &mut told)?;
            }
        }
        if first.is_none() {
            first = newest(args, engine);
        }
        std::thread::sleep(EVERY);
    }
}

fn of_run(args: &Args, folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    args.run
        .as_ref()
        .is_none_or(|run| name.starts_with(run.as_str()))
}

/// The newest run that has something to show.
fn newest(args: &Args, engine: &Engine) -> Option<PathBuf> {
    let folders = read::folders(&engine.folder());
    folders.into_iter().rev().find(|folder| {
        of_run(args, folder) && logs(folder).iter().any(|path| is_of(args, &parsed(path)))
    })
}

/// The logs of a run, by the names that they have while they grow.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter_map(|path| match path.extension()?.to_str()? {
            "log" => Some(path),
            "gz" => Some(path.with_extension("")),
            _ => None,
        })
        .collect();
    logs.sort();
    logs.dedup();
    logs
}

/// A log that is compressed once its task has ended.
fn parsed(path: &Path) -> read::Parsed {
    let raw = fs::read(path)
        .or_else(|_| fs::read(path.with_extension("log.gz")))
        .unwrap_or_default();
    read::parse(&raw)
}

fn is_of(args: &Args, log: &read::Parsed) -> bool {
    let Some(header) = &log.header else {
        return false;
    };
    args.task.as_ref().is_none_or(|task| header.task == *task)
}

fn news(args: &Args, path: &Path, told: &mut HashMap<PathBuf, usize>) -> Result<()> {
    let log = parsed(path);
    if !is_of(args, &log) {
        return Ok(());
    }
    let from = told.entry(path.to_path_buf()).or_default();
    let task = log.header.as_ref().map_or("", |h| h.task.as_str());
    let mut text = String::new();
    for event in log.events.iter().skip(*from).filter(|e| wanted(args, e)) {
        let line = shown_event(args, event)?;
        if args.task.is_some() || args.json {
            let _ = writeln!(text, "{line}");
        } else {
            let _ = writeln!(text, "{task}: {line}");
        }
    }
    *from = (*from).max(log.events.len());
    super::print(&text)
}
