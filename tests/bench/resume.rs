//! What it costs to bring the lab up, take it down and bring it up again, and
//! to serve a changed template; each against the cold boot of the same run.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::Checkout;

use super::timed;

/// How often what is quick is measured; medians are printed.
const ROUNDS: usize = 5;
const TEMPLATE: &str = "cloud-init/target/user-data.tera";
const OLD: &str = "#cloud-config\n";

pub(crate) fn run() -> anyhow::Result<()> {
    let lab = super::prepared()?;
    eprintln!("cold: server and one target, from images to `ready`");
    let cold = timed(&lab, &["up"])?;

    let (mut down, mut up, mut noop, mut served) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        down.push(timed(&lab, &["down"])?);
        up.push(timed(&lab, &["up"])?);
        noop.push(timed(&lab, &["up"])?);
        served.push(template(&lab, round)?);
        eprintln!("round {} of {ROUNDS}", round + 1);
    }
    println!("{:32} {:>9}  {:>9}  goal", "", "median", "of cold");
    row("make up, cold", cold, cold, "");
    row("make down", median(down), cold, "4 s");
    row("make up after make down", median(up), cold, "3 s, 1/60");
    row("make up, nothing to do", median(noop), cold, "60 ms");
    row("a changed template is served", median(served), cold, "2 s");
    Ok(())
}

/// From typing `make up` until the server answers with the new text.
fn template(lab: &Checkout, round: usize) -> anyhow::Result<Duration> {
    let text = format!("final_message: \"round {round}\"");
    let record = lab.record("server")?;
    let url = format!(
        "http://{}:{}/cloud-init/52-54-00-4c-42-01/user-data",
        record["forwards"]["address"].as_str().context("address")?,
        record["forwards"]["http"],
    );
    lab.with_edit(TEMPLATE, OLD, &format!("{OLD}{text}\n"), |lab| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let make = scope.spawn(|| lab.make(&["up"]));
            let served = loop {
                let curl = Command::new("curl").args(["-fsS", &url]).output()?;
                if String::from_utf8_lossy(&curl.stdout).contains(&text) {
                    break start.elapsed();
                }
                ensure!(start.elapsed() < Duration::from_secs(120), "never served");
                std::thread::sleep(Duration::from_millis(50));
            };
            make.join()
                .map_err(|_| anyhow::anyhow!("a make panicked"))??
                .success()?;
            Ok(served)
        })
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, took: Duration, cold: Duration, goal: &str) {
    let ratio = cold.as_secs_f64() / took.as_secs_f64();
    let share = if ratio < 1.5 {
        "1".to_owned()
    } else {
        format!("1/{ratio:.0}")
    };
    println!(
        "{what:32} {:>7.2} s  {share:>9}  {goal}",
        took.as_secs_f64()
    );
}
