//! `hermake trace`: a run as a Chrome trace, as <https://ui.perfetto.dev> and Chrome itself show it.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::args::Trace as Args;
use crate::runlog::{Ending, Indexed, read};

pub(super) fn trace(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let folders = read::folders(&engine.folder());
    let named = |folder: &&std::path::PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        args.run
            .as_ref()
            .is_none_or(|run| name.starts_with(run.as_str()))
    };
    let entries = folders
        .iter()
        .rev()
        .filter(named)
        .map(|folder| read::entries(folder))
        .find(|entries| !entries.is_empty());
    let Some(entries) = entries else {
        bail!("there is no such run here: `hermake log` lists them");
    };
    let text = serde_json::to_string(&events(entries)).context("encoding the trace")? + "\n";
    match &args.out {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        None => super::print(&text)?,
    }
    Ok(0)
}

/// Rows on which tasks don't overlap: as many as ran at once. Processes are too many to be rows of their own.
fn lane(ends: &mut Vec<u64>, entry: &Indexed) -> usize {
    let end = entry.started_us + entry.took_us;
    if let Some(free) = ends.iter().position(|e| *e <= entry.started_us) {
        ends[free] = end;
        return free + 1;
    }
    ends.push(end);
    ends.len()
}

fn events(mut entries: Vec<Indexed>) -> Value {
    entries.sort_by_key(|e| e.started_us);
    let run = entries.first().map_or("", |e| e.run.as_str());
    let start = entries.first().map_or(0, |e| e.started_us);
    let mut events = vec![json!({
        "ph": "M", "name": "process_name", "pid": 1, "args": { "name": format!("hermake {run}") },
    })];
    let mut ends = Vec::new();
    for entry in &entries {
        let lane = lane(&mut ends, entry);
        let at = entry.started_us - start;
        let slice = |name: &str, category: &str, from: u64, took: u64, args: Value| {
            json!({
                "ph": "X", "pid": 1, "tid": lane, "name": name, "cat": category,
                "ts": from, "dur": took, "args": args,
            })
        };
        events.push(slice(
            &entry.task,
            entry.ending.name(),
            at,
            entry.took_us,
            json!({
                "why": entry.why, "ending": entry.ending, "what": entry.what,
                "process": entry.pid, "log": entry.log,
            }),
        ));
        for (name, from, took) in parts(entry) {
            events.push(slice(name, "part", at + from, took, json!({})));
        }
    }
    for lane in 1..=ends.len() {
        events.push(json!({
            "ph": "M", "name": "thread_name", "pid": 1, "tid": lane,
            "args": { "name": format!("lane {lane}") },
        }));
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": { "run": run, "started_us": start },
        "traceEvents": events,
    })
}

/// What a task's time went into: before its first command, the commands, and after the last.
fn parts(entry: &Indexed) -> Vec<(&'static str, u64, u64)> {
    let (Some(first), Some(last)) = (entry.spans.first(), entry.spans.last()) else {
        return Vec::new();
    };
    let mut parts = vec![("prepare", 0, first.from_us)];
    parts.extend(
        entry
            .spans
            .iter()
            .map(|s| ("command", s.from_us, s.took_us)),
    );
    let end = last.from_us + last.took_us;
    if entry.ending == Ending::Ok {
        parts.push(("keep outputs", end, entry.took_us.saturating_sub(end)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runlog::Span;

    fn entry(task: &str, started_us: u64, took_us: u64) -> Indexed {
        Indexed {
            run: "20260131-120000-7".into(),
            task: task.into(),
            id: task.into(),
            ending: Ending::Ok,
            what: String::new(),
            why: "no result of it yet".into(),
            started_us,
            took_us,
            saved_us: None,
            pid: 7,
            spans: vec![Span {
                name: "sh".into(),
                from_us: 10,
                took_us: 70,
            }],
            log: format!("20260131-120000-7/{task}.log"),
        }
    }

    #[test]
    fn overlapping_tasks_are_on_lanes_of_their_own() {
        let entries = vec![
            entry("b", 1050, 100),
            entry("a", 1000, 100),
            entry("c", 1100, 100),
        ];
        let trace = events(entries);
        insta::assert_snapshot!(serde_json::to_string_pretty(&trace).unwrap());
    }
}
