//! Machines that die, labs that are taken down, and what is left of them.

use anyhow::{Context as _, ensure};
use e2e::Checkout;
use std::process::Command;
use std::time::Duration;

pub(crate) fn killed(checkout: &Checkout) -> anyhow::Result<()> {
    for vm in ["target1", "server"] {
        let pid = checkout.record(vm)?["pid"].to_string();
        let killed = Command::new("kill").args(["-KILL", &pid]).status()?;
        ensure!(killed.success(), "kill {pid}");
    }
    checkout.make(&["status"])?.says(&["server", "target1"])?;
    checkout.make(&["up"])?.success()?;
    both_answer(checkout)
}

pub(crate) fn at_once(checkout: &Checkout) -> anyhow::Result<()> {
    down(checkout)?;
    let texts = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| checkout.make(&["up"])));
        runs.into_iter()
            .map(|run| {
                let run = run.join();
                let run = run.map_err(|_| anyhow::anyhow!("a make panicked"))??;
                Ok(run.success()?.text)
            })
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    for vm in ["server", "target1"] {
        let started = texts.concat().matches(&format!("{vm}: resumed")).count();
        ensure!(started == 1, "{vm} was started {started} times: {texts:?}");
    }
    both_answer(checkout)
}

/// What a machine that went on has, and one that booted has not.
const ALIVE: &str = "cat /proc/sys/kernel/random/boot_id; cat /run/kept; date +%s";

pub(crate) fn suspended(checkout: &Checkout) -> anyhow::Result<()> {
    for vm in ["server", "target1"] {
        checkout
            .ssh(vm, "echo kept | sudo tee /run/kept >/dev/null")?
            .success()?;
    }
    let before = alive(checkout)?;
    down(checkout)?;
    let up = checkout.make(&["up"])?.success()?;
    eprintln!("    make up, resumed: {:.1} s", up.took.as_secs_f64());
    let after = alive(checkout)?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before.0 == after.0, "a machine booted instead of going on");
        ensure!(after.1 < 5, "a clock is {} s off", after.1);
    }
    checkout
        .make(&["up"])?
        .success()?
        .keeps_quiet_about(TASKS)?;
    both_answer(checkout)
}

/// Killed while the lab is resumed and while it is suspended; the next `make up`
/// goes on from the same memory each time.
pub(crate) fn interrupted(checkout: &Checkout) -> anyhow::Result<()> {
    let before = alive(checkout)?;
    for milliseconds in [200, 600, 1000] {
        let after = Duration::from_millis(milliseconds);
        down(checkout)?;
        checkout.make_killed_or_done(&["up"], after)?;
        checkout.make(&["up"])?.success()?;
        checkout.make_killed_or_done(&["down"], after)?;
        checkout.make(&["up"])?.success()?;
    }
    for (before, after) in before.iter().zip(&alive(checkout)?) {
        ensure!(before.0 == after.0, "a machine booted instead of going on");
        ensure!(after.1 < 5, "a clock is {} s off", after.1);
    }
    both_answer(checkout)
}

/// Printed by hermake for every task that it runs, with the reason.
const TASKS: &[&str] = &["server-vm:", "push:", "machine-target1:"];

/// Of the server and the target: boot id, and how far its clock is off.
fn alive(checkout: &Checkout) -> anyhow::Result<Vec<(String, i64)>> {
    let mut found = Vec::new();
    for vm in ["server", "target1"] {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let asked = i64::try_from(now()?.as_secs())?;
        let told = checkout.ssh(vm, ALIVE)?.success()?.says(&["kept"])?;
        let answered = i64::try_from(now()?.as_secs())?;
        let lines: Vec<&str> = told.text.lines().collect();
        let [boot, _, seconds] = lines[..] else {
            anyhow::bail!("{vm} says {lines:?}");
        };
        let there: i64 = seconds.parse()?;
        let off = (asked - there).max(there - answered).max(0);
        found.push((boot.to_owned(), off));
    }
    Ok(found)
}

fn down(checkout: &Checkout) -> anyhow::Result<()> {
    let down = checkout.make(&["down"])?.success()?;
    eprintln!("    make down: {:.1} s", down.took.as_secs_f64());
    down.says(&["server: suspended", "target1: suspended"])?;
    let left = checkout.processes()?;
    ensure!(left.is_empty(), "after make down there is still: {left:?}");
    Ok(())
}

pub(crate) fn damaged(checkout: &Checkout) -> anyhow::Result<()> {
    checkout
        .ssh("target1", "echo kept | sudo tee /etc/kept >/dev/null; sync")?
        .success()?;
    down(checkout)?;
    for vm in ["server", "target1"] {
        let memory = checkout.path(&format!("build/labs/lab/vm/{vm}/ram.img"));
        let file = std::fs::OpenOptions::new().write(true).open(memory)?;
        file.set_len(4096)?;
    }
    let up = checkout.make(&["up"])?.success()?;
    eprintln!("    make up, booted: {:.1} s", up.took.as_secs_f64());
    up.says(&[
        "server: boots; the memory that was saved of it is dropped",
        "target1: boots; the memory that was saved of it is dropped",
    ])?;
    both_answer(checkout)?;
    checkout
        .ssh("target1", "cat /etc/kept")?
        .success()?
        .says(&["kept"])
        .map(drop)
}

pub(crate) fn beside(checkout: &Checkout) -> anyhow::Result<()> {
    checkout.make(&["server", "LAB=beside"])?.success()?;
    checkout
        .make(&[
            "ssh",
            "LAB=beside",
            "VM=server",
            "CMD=systemctl is-active nginx bootd",
        ])?
        .success()?
        .says(&["active\nactive"])?;
    both_answer(checkout)?;
    checkout.make(&["clean", "LAB=beside"])?.success()?;
    ensure!(
        !checkout.path("build/labs/beside").exists(),
        "files of the other lab are left"
    );
    both_answer(checkout)
}

pub(crate) fn clean(checkout: &Checkout) -> anyhow::Result<()> {
    checkout.make(&["clean"])?.success()?;
    let left = checkout.processes()?;
    ensure!(left.is_empty(), "after make clean there is still: {left:?}");
    ensure!(
        !checkout.path("build/labs/lab").exists(),
        "files of the lab are left"
    );
    let labs = std::fs::read_dir(checkout.path("build/labs")).context("build/labs")?;
    ensure!(labs.count() == 0, "files of a lab are left");
    Ok(())
}

fn both_answer(checkout: &Checkout) -> anyhow::Result<()> {
    for vm in ["server", "target1"] {
        checkout.ssh(vm, "hostname")?.success()?.says(&[vm])?;
    }
    Ok(())
}
