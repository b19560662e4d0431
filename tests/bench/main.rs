//! `make bench-lab`: what the lab costs. `make bench-lab B=resume` for what
//! suspending saves, `B=targets` for many machines (`B=hub`, `B=switch`: on that
//! backend only); both without `B`. Images are in the store already, or are made
//! first.

mod resume;
mod targets;

use std::time::Duration;

use anyhow::bail;
use e2e::Checkout;

fn main() -> anyhow::Result<()> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.is_empty() {
        wanted = vec!["resume".to_owned(), "targets".to_owned()];
    }
    for what in wanted {
        match what.as_str() {
            "resume" => resume::run()?,
            "targets" => targets::run(&["hub", "switch"])?,
            "hub" | "switch" => targets::run(&[&what])?,
            other => bail!("there is no benchmark {other:?}: resume, targets, hub, switch"),
        }
    }
    Ok(())
}

/// A checkout for which images and programs have been made.
fn prepared() -> anyhow::Result<Checkout> {
    let lab = Checkout::new()?;
    eprintln!("images, programs and a first lab, which is thrown away");
    timed(&lab, &["server"])?;
    lab.make(&["clean"])?.success()?;
    Ok(lab)
}

fn timed(lab: &Checkout, goals: &[&str]) -> anyhow::Result<Duration> {
    Ok(lab.make(goals)?.success()?.took)
}
