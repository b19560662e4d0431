//! Machines that die, labs that are taken down, and what is left of them.

use anyhow::{Context as _, ensure};
use e2e::Checkout;
use std::process::Command;

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
    let before = checkout.record("server")?["pid"].clone();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| checkout.make(&["up"])))
            .collect();
        for run in runs {
            run.join()
                .map_err(|_| anyhow::anyhow!("a make panicked"))??
                .success()?;
        }
        anyhow::Ok(())
    })?;
    ensure!(
        before == checkout.record("server")?["pid"],
        "the server was started again"
    );
    Ok(())
}

pub(crate) fn down_and_up(checkout: &Checkout) -> anyhow::Result<()> {
    checkout
        .ssh(
            "target1",
            "echo kept | sudo tee /root/kept >/dev/null; sync",
        )?
        .success()?;
    let down = checkout.make(&["down"])?.success()?;
    eprintln!("    make down: {:.1} s", down.took.as_secs_f64());
    let left = checkout.processes()?;
    ensure!(left.is_empty(), "after make down there is still: {left:?}");
    let up = checkout.make(&["up"])?.success()?;
    eprintln!("    make up after down: {:.1} s", up.took.as_secs_f64());
    both_answer(checkout)?;
    checkout
        .ssh("target1", "sudo cat /root/kept")?
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
