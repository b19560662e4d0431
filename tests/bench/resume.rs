//! What it costs to bring the lab up, take it down and bring it up again, and
//! to serve a changed template; each against the cold boot of the same run.

use std::time::{Duration, Instant};

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

/// From typing `make up` until the server answers with the new text, asked for
/// all the time by a shell on it.
fn template(lab: &Checkout, round: usize) -> anyhow::Result<Duration> {
    let text = format!("final_message: \"round {round}\"");
    let url = "http://127.0.0.1/cloud-init/52-54-00-4c-42-01/user-data";
    let ask = format!(
        "timeout 120 sh -c 'until curl -fsS {url} | grep -q \"round {round}\"; do :; done'"
    );
    lab.with_edit(TEMPLATE, OLD, &format!("{OLD}{text}\n"), |lab| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let served = lab.ssh("server", &ask)?.success();
                served.map(|_| start.elapsed())
            });
            lab.make(&["up"])?.success()?;
            asked
                .join()
                .map_err(|_| anyhow::anyhow!("the thread that asks panicked"))?
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
