//! What changed is done anew, and nothing else.

use anyhow::ensure;
use e2e::Checkout;

/// A line of the target's user-data, and the one it becomes.
const TEMPLATE: &str = "cloud-init/target/user-data.tera";
const OLD: &str = "#cloud-config\n";
const NEW: &str = "#cloud-config\nfinal_message: \"edited by the end-to-end test\"\n";

/// Printed by hermake for every task that it runs, with the reason.
const SERVER_TASKS: &[&str] = &[
    "server-image:",
    "server-seed:",
    "server-vm:",
    "machine-target1:",
];

pub(crate) fn nothing(checkout: &Checkout) -> anyhow::Result<()> {
    let again = checkout.make(&["up"])?.success()?;
    eprintln!(
        "    make up again: {:.0} ms",
        again.took.as_secs_f64() * 1000.0
    );
    // the table at its end, and nothing of any task
    again
        .says(&["target1"])?
        .keeps_quiet_about(SERVER_TASKS)?
        .keeps_quiet_about(&["site:", "push:", "config:", "done in"])
        .map(drop)
}

pub(crate) fn template(checkout: &Checkout) -> anyhow::Result<()> {
    let before = (checkout.record("server")?, checkout.record("target1")?);
    checkout.with_edit(TEMPLATE, OLD, NEW, |checkout| {
        checkout
            .make(&["up"])?
            .success()?
            .says(&["site:", "push:"])?
            .keeps_quiet_about(SERVER_TASKS)?;
        let after = (checkout.record("server")?, checkout.record("target1")?);
        ensure!(
            before.0["pid"] == after.0["pid"] && before.1["pid"] == after.1["pid"],
            "a machine was started again for an edited template"
        );
        checkout
            .ssh(
                "server",
                "curl -s http://127.0.0.1/cloud-init/52-54-00-4c-42-01/user-data",
            )?
            .success()?
            .says(&["edited by the end-to-end test"])
            .map(drop)
    })
}

pub(crate) fn reprovision(checkout: &Checkout) -> anyhow::Result<()> {
    let instance =
        "cat /var/lib/cloud/data/instance-id; grep -c 'edited by' /var/log/cloud-init-output.log";
    let before = checkout.ssh("target1", instance)?;
    ensure!(
        before.text.contains("\n0"),
        "the edit is there before it was installed"
    );
    checkout.with_edit(TEMPLATE, OLD, NEW, |checkout| {
        checkout.make(&["reprovision", "VM=target1"])?.success()
    })?;
    let after = checkout.ssh("target1", instance)?.success()?;
    ensure!(
        before.text.lines().next() != after.text.lines().next(),
        "the target is the same instance as before"
    );
    ensure!(
        after.text.lines().nth(1) == Some("1"),
        "the edit is not in effect: {}",
        after.text
    );
    // the file is as it was again, and so is what is served
    checkout.make(&["up"])?.success().map(drop)
}
