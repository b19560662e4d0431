//! `lab trace`: the timelines of a lab as a Chrome trace.
//!
//! Times are absolute microseconds since 1970, so that the traces of tasks go on
//! the same axis: `--merge FILE` adds their events.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Entry, file};
use crate::fsutil;
use crate::state::LabArgs;

/// Options of `lab trace`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Where to write it; standard output if left out.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add the events of another Chrome trace.
    #[arg(long, value_name = "FILE")]
    merge: Vec<PathBuf>,
}

/// Writes the trace.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let mut events = vec![name("process_name", 0, &format!("lab {}", lab.name()))];
    let mut names = lab.vm_names()?;
    // the server is what the others wait for
    names.sort_by_key(|name| name != "server");
    for (index, vm) in names.iter().enumerate() {
        events.push(name("thread_name", index, vm));
        events.extend(of(&file::read(&lab.vm(vm)), index));
    }
    for path in &args.merge {
        let text = fs_err::read_to_string(path)?;
        events.extend(
            others(&text).with_context(|| format!("{} is not a Chrome trace", path.display()))?,
        );
    }
    let text = serde_json::to_string(&json!({ "traceEvents": events }))? + "\n";
    match &args.out {
        Some(path) => fsutil::write_atomically(path, text.as_bytes(), 0o644),
        None => crate::status::print(&text),
    }
}

/// The events of a trace in either of its two forms, in absolute time: a trace
/// whose times are from its own begin says when that was, as hermake's do, in
/// `otherData.started_us`.
fn others(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut trace: Value = serde_json::from_str(text)?;
    let begin = trace["otherData"]["started_us"].as_u64().unwrap_or(0);
    let events = match trace.get_mut("traceEvents") {
        Some(events) => events.take(),
        None => trace,
    };
    let Value::Array(mut events) = events else {
        anyhow::bail!("there are no traceEvents in it");
    };
    for event in &mut events {
        if let Some(time) = event.get("ts").and_then(Value::as_u64) {
            event["ts"] = json!(time + begin);
        }
    }
    Ok(events)
}

/// Of one VM: from each stage to the next a span, all else moments.
fn of(entries: &[Entry], thread: usize) -> Vec<Value> {
    let stages: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.stage.is_some())
        .collect();
    let mut events = Vec::new();
    for (index, entry) in stages.iter().enumerate() {
        let stage = entry.stage.as_deref().unwrap_or_default();
        let next = stages.get(index + 1);
        // what is over is no span: nothing is known of when it ended
        let is_end = matches!(
            stage,
            "ready" | "resumed" | "failed" | "stands-still" | "gone"
        );
        let to = next.filter(|_| !is_end).map_or(entry.time, |e| e.time);
        events.push(json!({
            "name": stage, "cat": "stage", "ph": "X", "pid": PID, "tid": thread,
            "ts": entry.time * 1000, "dur": (to - entry.time) * 1000,
            "args": { "source": entry.source, "text": entry.text },
        }));
    }
    for entry in entries.iter().filter(|entry| entry.stage.is_none()) {
        events.push(json!({
            "name": entry.text, "cat": entry.source, "ph": "i", "s": "t",
            "pid": PID, "tid": thread, "ts": entry.time * 1000,
        }));
    }
    events
}

/// No process of this machine has it, so it collides with no task's.
const PID: u32 = u32::MAX;

fn name(kind: &str, thread: usize, name: &str) -> Value {
    json!({ "name": kind, "ph": "M", "pid": PID, "tid": thread, "args": { "name": name } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Line, Source};

    #[test]
    fn stages_are_spans_and_log_lines_are_moments() {
        let entries = [
            Entry::host(1000, Some("power-on"), "powered on"),
            Entry::log(1500, Line::new(Source::Dhcp, "DHCPOFFER")),
            Entry::host(3000, Some("ready"), "ready"),
        ];
        let events = of(&entries, 1);
        let short: Vec<_> = events
            .iter()
            .map(|e| format!("{} {} {} {}", e["ph"], e["name"], e["ts"], e["dur"]))
            .collect();
        assert_eq!(
            short,
            [
                "\"X\" \"power-on\" 1000000 2000000",
                "\"X\" \"ready\" 3000000 0",
                "\"i\" \"DHCPOFFER\" 1500000 null"
            ]
        );
    }

    #[test]
    fn other_traces_are_taken_in_both_forms() {
        assert_eq!(others("[{\"ph\":\"X\"}]").unwrap().len(), 1);
        assert_eq!(others("{\"traceEvents\":[{}]}").unwrap().len(), 1);
        assert!(others("{}").is_err());
        let relative = others(
            "{\"otherData\":{\"started_us\":5000},\"traceEvents\":[{\"ts\":7},{\"ph\":\"M\"}]}",
        );
        assert_eq!(
            relative.unwrap(),
            [json!({ "ts": 5007 }), json!({ "ph": "M" })]
        );
    }
}
