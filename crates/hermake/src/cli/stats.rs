//! `hermake stats`: what costs time, what the store saves, and why tasks run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::args::Stats as Args;
use crate::config::units::seconds;
use crate::runlog::time::{self, span};
use crate::runlog::{Ending, Indexed, read};

/// Reasons that are counted for a task.
const REASONS: usize = 3;

/// Figures of the runs whose logs are kept.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Stats {
    /// Runs in which something was to be done.
    runs: usize,
    /// Tasks that ran.
    ran: usize,
    /// Of them, those that failed.
    failed: usize,
    /// Tasks whose outputs came from the store.
    restored: usize,
    /// Of what was out of date, how much the store had, in percent. What is up to date isn't counted: it leaves no trace.
    hit_rate: u64,
    /// Microseconds spent running tasks.
    spent_us: u64,
    /// Microseconds that restored results took when they were made.
    saved_us: u64,
    /// By task, what costs most first.
    tasks: Vec<TaskStats>,
}

/// Figures of one task.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct TaskStats {
    /// Its name.
    task: String,
    /// How often it ran.
    ran: usize,
    /// How often it failed.
    failed: usize,
    /// How often it was restored.
    restored: usize,
    /// Microseconds in all.
    total_us: u64,
    /// Microseconds of the run in the middle.
    median_us: u64,
    /// Microseconds of the longest run.
    longest_us: u64,
    /// Why it ran, most frequent first.
    reasons: Vec<Reason>,
}

/// Why a task ran, and how often.
#[derive(Debug, Serialize, JsonSchema)]
struct Reason {
    /// The first change.
    why: String,
    /// How often.
    times: usize,
}

pub(super) fn stats(args: &Args) -> Result<u8> {
    let engine = super::reader()?;
    let mut entries = read::index(&engine.folder());
    if let Some(text) = &args.since {
        let age = seconds(text).with_context(|| format!("`{text}` is no time like 7d"))?;
        let from = time::now_us().saturating_sub(age.saturating_mul(1_000_000));
        entries.retain(|e| e.started_us >= from);
    }
    let stats = collect(&entries);
    if args.json {
        super::print_json(&stats)?;
    } else {
        super::print(&shown(&stats))?;
    }
    Ok(0)
}

fn collect(entries: &[Indexed]) -> Stats {
    let mut runs: Vec<&str> = entries.iter().map(|e| e.run.as_str()).collect();
    runs.sort_unstable();
    runs.dedup();
    let mut by_task: BTreeMap<&str, Vec<&Indexed>> = BTreeMap::new();
    for entry in entries {
        by_task.entry(&entry.task).or_default().push(entry);
    }
    let mut tasks: Vec<_> = by_task
        .iter()
        .map(|(name, list)| of_task(name, list))
        .collect();
    tasks.sort_by(|a, b| {
        b.total_us
            .cmp(&a.total_us)
            .then_with(|| a.task.cmp(&b.task))
    });
    let sum = |of: fn(&TaskStats) -> usize| tasks.iter().map(of).sum::<usize>();
    let (ran, restored) = (sum(|t| t.ran), sum(|t| t.restored));
    let rate = (restored * 100).checked_div(ran + restored).unwrap_or(0);
    Stats {
        runs: runs.len(),
        ran,
        failed: sum(|t| t.failed),
        restored,
        hit_rate: rate as u64,
        spent_us: tasks.iter().map(|t| t.total_us).sum(),
        saved_us: entries.iter().filter_map(|e| e.saved_us).sum(),
        tasks,
    }
}

fn of_task(name: &str, entries: &[&Indexed]) -> TaskStats {
    let ran: Vec<_> = entries
        .iter()
        .filter(|e| e.ending != Ending::Restored)
        .collect();
    let mut times: Vec<u64> = ran.iter().map(|e| e.took_us).collect();
    times.sort_unstable();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &ran {
        *counted.entry(reason(&entry.why)).or_default() += 1;
    }
    let mut reasons: Vec<_> = counted
        .into_iter()
        .map(|(why, times)| Reason {
            why: why.to_owned(),
            times,
        })
        .collect();
    reasons.sort_by_key(|r| std::cmp::Reverse(r.times));
    reasons.truncate(REASONS);
    TaskStats {
        task: name.to_owned(),
        ran: ran.len(),
        failed: ran.iter().filter(|e| e.ending == Ending::Failed).count(),
        restored: entries.len() - ran.len(),
        total_us: times.iter().sum(),
        median_us: times.get(times.len() / 2).copied().unwrap_or(0),
        longest_us: times.last().copied().unwrap_or(0),
        reasons,
    }
}

/// What changed, without from what to what.
fn reason(why: &str) -> &str {
    let first = why.split(", and ").next().unwrap_or(why);
    first.split(" (").next().unwrap_or(first)
}

fn shown(stats: &Stats) -> String {
    let ms = |us: u64| span(us / 1000);
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let were = if stats.restored == 1 { "was" } else { "were" };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} run{}: {} task{} ran ({} failed) in {}, {} {were} restored ({} % of what was out of date), which saved {}",
        stats.runs,
        plural(stats.runs),
        stats.ran,
        plural(stats.ran),
        stats.failed,
        ms(stats.spent_us),
        stats.restored,
        stats.hit_rate,
        ms(stats.saved_us)
    );
    if stats.tasks.is_empty() {
        return text;
    }
    let width = stats
        .tasks
        .iter()
        .map(|t| t.task.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let _ = writeln!(
        text,
        "{:width$}  {:>12}  {:>12}  {:>12}  {:>4}  {:>6}  {:>8}  ran mostly because",
        "task", "in all", "median", "longest", "ran", "failed", "restored"
    );
    for task in &stats.tasks {
        let why = task
            .reasons
            .first()
            .map_or(String::new(), |r| format!("{} ({}×)", r.why, r.times));
        let row = format!(
            "{:width$}  {:>12}  {:>12}  {:>12}  {:>4}  {:>6}  {:>8}  {why}",
            task.task,
            ms(task.total_us),
            ms(task.median_us),
            ms(task.longest_us),
            task.ran,
            task.failed,
            task.restored
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_rates_and_reasons() {
        let entry = |task: &str, ending, took_us, why: &str, saved_us| Indexed {
            run: "20260131-120000-7".into(),
            task: task.into(),
            id: task.into(),
            ending,
            what: String::new(),
            why: why.into(),
            started_us: 1,
            took_us,
            saved_us,
            pid: 7,
            spans: Vec::new(),
            log: String::new(),
        };
        let entries = [
            entry(
                "link",
                Ending::Ok,
                2_500_000,
                "needed output build/a.o changed",
                None,
            ),
            entry(
                "link",
                Ending::Failed,
                500_000,
                "needed output build/a.o changed, and 2 more",
                None,
            ),
            entry("link", Ending::Ok, 1_000_000, "no result of it yet", None),
            entry(
                "greet",
                Ending::Ok,
                40_000,
                "command changed (-O1 → -O2)",
                None,
            ),
            entry(
                "greet",
                Ending::Restored,
                1_000,
                "no result of it yet",
                Some(40_000),
            ),
        ];
        insta::assert_snapshot!(shown(&collect(&entries)) + &shown(&collect(&[])));
    }
}
