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
        // killed in the middle of it; the next `make up` goes on from there
        checkout.make_until(&["reprovision", "VM=target1"], &["target1: iPXE runs"])?;
        checkout
            .make(&["up"])?
            .success()?
            .keeps_quiet_about(&["server-vm:"])
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

/// Another target, in all that it may have of its own.
const SECOND: &str = r#"
[[target]]
name = "target2"
mac = "52:54:00:4c:42:02"
memory = "2GiB"
boot = "http"
templates = "cloud-init/rack2"
extra = { role = "db: 1" }
kernel-args = "loglevel=7"
"#;
const ITS_TEMPLATE: &str = "#cloud-config\nfinal_message: {{ machine.extra.role | yaml }}\n";

/// A service's configuration that changed is another server; and a second
/// target is installed at the same time as the first one again.
pub(crate) fn service_and_second_target(checkout: &Checkout) -> anyhow::Result<()> {
    let before = checkout.record("server")?["instance"].clone();
    let text = checkout.read("lab.toml")?;
    std::fs::write(checkout.path("lab.toml"), text + SECOND)?;
    std::fs::create_dir(checkout.path("cloud-init/rack2"))?;
    std::fs::write(
        checkout.path("cloud-init/rack2/vendor-data.tera"),
        ITS_TEMPLATE,
    )?;
    let server = "server_name _;";
    let changed = "server_name _;\n    add_header X-Lab changed;";
    checkout.with_edit("services/nginx.conf.tera", server, changed, |checkout| {
        let up = checkout.make(&["up"])?.success()?;
        eprintln!(
            "    new server, two targets: {:.0} s",
            up.took.as_secs_f64()
        );
        up.says(&["server-user-data:", "server-vm:", "target1", "target2"])
    })?;
    ensure!(
        before != checkout.record("server")?["instance"],
        "the server has its old disk"
    );
    checkout
        .ssh("server", "curl -sI http://127.0.0.1/healthz")?
        .success()?
        .says(&["X-Lab: changed"])?;
    for target in ["target1", "target2"] {
        checkout
            .ssh(target, "hostname; cloud-init status")?
            .success()?
            .says(&[&format!("{target}\nstatus: done")])?;
    }
    checkout
        .ssh("target2", "grep 'db: 1' /var/log/cloud-init-output.log")?
        .success()?
        .says(&["db: 1"])?;
    let console = checkout.read("build/labs/lab/vm/target2/serial.log")?;
    ensure!(
        console.contains(">>Start HTTP Boot over IPv4")
            && console.contains("loglevel=7")
            && !console.contains(">>Start PXE"),
        "target2 did not come up by UEFI HTTP boot alone"
    );
    let status = checkout.make(&["status", "JSON=1"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&status.text)?;
    let ready = status["vms"].as_array().map_or(0, |vms| {
        vms.iter()
            .filter(|vm| vm["machine"]["state"] == "ready")
            .count()
    });
    ensure!(ready == 2, "not both targets are ready: {status}");
    Ok(())
}

/// Alone it takes seconds where the store has the images: it starts no machine.
pub(crate) fn deterministic(checkout: &Checkout) -> anyhow::Result<()> {
    checkout.make(&["build/host.toml"])?.success()?;
    let told = checkout.hermake(&["check", "--all"])?.success()?;
    for (task, verdict) in TASKS_AND_VERDICTS {
        let line = format!("{task}: {verdict}");
        ensure!(
            told.text.lines().any(|l| l.starts_with(&line)),
            "no {line:?} in\n{}",
            told.text
        );
    }
    // the reason of an impure task is not enough
    told.keeps_quiet_about(&["not checked ("]).map(drop)
}

/// What `hermake check` begins to say of each task of the lab.
const TASKS_AND_VERDICTS: &[(&str, &str)] = &[
    ("bootd", SAID),
    ("installer", SAID),
    ("server-image", SAID),
    ("target-image", SAID),
    ("config", SAME),
    ("keys", SAID),
    ("server-user-data", SAME),
    ("server-meta-data", SAME),
    ("server-network-config", SAME),
    ("server-seed", SAME),
    ("server-vm", SAID),
    ("initrd", SAME),
    ("content", SAME),
    ("site", SAME),
    ("push", SAID),
    ("machine-target1", SAID),
];
const SAME: &str = "deterministic";
const SAID: &str = "not checked, as its task file says: ";
