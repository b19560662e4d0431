//! `hermake gc` and `hermake verify`.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::args::{Gc, Verify};
use crate::config::units::{bytes, human, seconds};

pub(super) fn gc(args: &Gc) -> Result<u8> {
    let engine = super::reader()?;
    let settings = &engine.graph.settings;
    let size = match &args.size {
        Some(text) => bytes(text).with_context(|| format!("`{text}` is no size like 5GiB"))?,
        None => settings.store_size,
    };
    let age = match &args.age {
        Some(text) => seconds(text).with_context(|| format!("`{text}` is no time like 30d"))?,
        None => settings.store_age,
    };
    let plan = engine.store.plan_gc(size, age);
    let mut text = String::new();
    for (_, task, why) in &plan.records {
        let _ = writeln!(text, "result of {task}: {why}");
    }
    let what = if args.dry_run { "would free" } else { "freed" };
    let _ = writeln!(
        text,
        "{what} {} of {} in {} blobs, {} results ({})",
        human(plan.freed()),
        human(plan.size),
        plan.blobs.len(),
        plan.records.len(),
        engine.store.root().display()
    );
    if !args.dry_run {
        engine.store.gc(&plan)?;
    }
    super::print(&text)?;
    Ok(0)
}

pub(super) fn verify(args: &Verify) -> Result<u8> {
    let engine = super::reader()?;
    let report = engine.store.verify(args.remove);
    if args.json {
        super::print_json(&report)?;
        return Ok(u8::from(!report.problems.is_empty()));
    }
    let text = {
        let mut text = report
            .problems
            .iter()
            .fold(String::new(), |t, p| t + p + "\n");
        let _ = writeln!(
            text,
            "read {} blobs and {} records: {} problems",
            report.blobs,
            report.records,
            report.problems.len()
        );
        text
    };
    super::print(&text)?;
    Ok(u8::from(!report.problems.is_empty()))
}
