//! Four targets beside each other: one, two and four are installed at once,
//! from nothing to ready, on each backend that needs no root.

use std::fmt::Write as _;
use std::time::Duration;

use e2e::Checkout;

use super::timed;

/// How many are installed at once.
const AT_ONCE: &[usize] = &[1, 2, 4];

pub(crate) fn run(backends: &[&str]) -> anyhow::Result<()> {
    let mut rows = String::new();
    for backend in backends {
        let lab = Checkout::new()?;
        four_targets(&lab, backend)?;
        eprintln!("{backend}: the server");
        timed(&lab, &["server"])?;
        let mut one = None;
        for count in AT_ONCE {
            let took = timed(&lab, &["reprovision", &machines(*count)])?;
            let one = *one.get_or_insert(took);
            row(&mut rows, backend, *count, took, one)?;
            eprintln!("{backend}: {count} at once, {:.0} s", took.as_secs_f64());
        }
        lab.make(&["clean"])?.success()?;
    }
    println!(
        "{:8} {:>8} {:>9} {:>12}  goal",
        "backend", "targets", "took", "of one's time"
    );
    print!("{rows}");
    Ok(())
}

/// Adds three targets to the one of lab.toml, and names the backend. Each has one
/// processor: four times two are more than most hosts have.
fn four_targets(lab: &Checkout, backend: &str) -> anyhow::Result<()> {
    let mut text = lab
        .read("lab.toml")?
        .replace("backend = \"auto\"", &format!("backend = \"{backend}\""))
        .replace("memory = \"2GiB\"\ncpus = 2", "memory = \"2GiB\"\ncpus = 1");
    for n in 2..=4 {
        write!(
            text,
            "\n[[target]]\nname = \"target{n}\"\nmac = \"52:54:00:4c:42:0{n}\"\nmemory = \"2GiB\"\ncpus = 1\ndisk = \"8GiB\"\n"
        )?;
    }
    fs_err::write(lab.path("lab.toml"), text)?;
    Ok(())
}

fn machines(count: usize) -> String {
    let names: Vec<String> = (1..=count).map(|n| format!("target{n}")).collect();
    format!("VM={}", names.join(","))
}

fn row(
    rows: &mut String,
    backend: &str,
    count: usize,
    took: Duration,
    one: Duration,
) -> std::fmt::Result {
    let (took, one) = (took.as_secs_f64(), one.as_secs_f64());
    let goal = if count == 4 { "2.5" } else { "" };
    writeln!(
        rows,
        "{backend:8} {count:>8} {took:>7.0} s {:>12.2}  {goal}",
        took / one
    )
}
