//! `lab server ready`: waits until the server is up, and says how far it is.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::boot_log::BootLog;
use crate::config::Resolved;
use crate::fsutil;
use crate::probe;
use crate::ssh;
use crate::state::{LabArgs, LabPaths};
use crate::vm::{self, Record, State};
use crate::wake::wake;

/// The services without which no target comes up.
const SERVICES: &str = "tftpd-hpa nginx bootd nftables";

/// Wait until the server is configured and its services answer.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 1200)]
    limit: u64,
}

/// What `cloud-init status --format json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct CloudInit {
    status: String,
    #[serde(default)]
    extended_status: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    recoverable_errors: serde_json::Map<String, serde_json::Value>,
}

/// Waits; on success writes the file `instance`, which names the installation
/// of the server's disk: what was pushed to another one is not on this one.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let record = wait_for_http(&lab, Duration::from_secs(args.limit))?;
    if record.resumed && vm::is_set_up(&lab.vm("server")) {
        // cloud-init had ended, well, when it was suspended
        wake(&lab, "server")?;
    } else {
        check_cloud_init(&lab)?;
        ssh::on_server(&lab, &services()).context("a service of the server is down")?;
    }
    // whatever the services say of themselves: an answer to a real request
    probe::run(&lab, &Resolved::new(lab.config()).network()?)?;
    let instance = lab.vm("server").set_up();
    fsutil::write_if_changed(
        &instance,
        (record.instance.clone() + "\n").as_bytes(),
        0o644,
    )?;
    eprintln!("::stage server ready");
    Ok(())
}

fn wait_for_http(lab: &LabPaths, limit: Duration) -> anyhow::Result<Record> {
    let vm = lab.vm("server");
    let start = Instant::now();
    let mut log = BootLog::new(vm.serial_log());
    if matches!(State::of(&vm)?, State::Running(record) if record.resumed) {
        // what the console showed was before
        log.news();
    }
    loop {
        for stage in log.news() {
            eprintln!("::stage server: {stage}");
        }
        let record = match State::of(&vm)? {
            State::Running(record) => record,
            State::Died(record) => anyhow::bail!(
                "the server's QEMU (pid {}) died while it came up; see {} and run `make up` again",
                record.process.pid,
                vm.qemu_log().display()
            ),
            State::Held(_) => anyhow::bail!("the server is being suspended; `make up` resumes it"),
            State::Stopped => anyhow::bail!("the server does not run; `make up` starts it"),
        };
        if let Some(failure) = log.failure() {
            anyhow::bail!(
                "the server's set-up failed: {failure}\nall of it: {}; have a look: make ssh VM=server CMD='cloud-init status --long'",
                vm.serial_log().display()
            );
        }
        let Err(why) = vm::ready(&record) else {
            return Ok(record);
        };
        anyhow::ensure!(
            start.elapsed() < limit,
            "the server did not come up within {} s ({why}); the last stage was {}; its console is in {}",
            limit.as_secs(),
            log.last().unwrap_or("power on"),
            vm.serial_log().display()
        );
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn check_cloud_init(lab: &LabPaths) -> anyhow::Result<()> {
    // the command's exit status says the same once more
    let text = ssh::on_server(lab, "cloud-init status --wait --format json || true")?;
    let told: CloudInit = serde_json::from_str(&text)
        .with_context(|| format!("what cloud-init says of the server can't be read: {text}"))?;
    let status = told.extended_status.as_deref().unwrap_or(&told.status);
    anyhow::ensure!(
        told.status == "done" && told.errors.is_empty(),
        "cloud-init on the server ended as {status:?}: {}; more in its /var/log/cloud-init-output.log (make ssh VM=server)",
        told.errors.join("; ")
    );
    if !told.recoverable_errors.is_empty() {
        eprintln!(
            "::stage server: cloud-init is {status:?}: {}",
            serde_json::Value::Object(told.recoverable_errors)
        );
    }
    Ok(())
}

/// A script that fails, and says why, unless every service is active.
fn services() -> String {
    format!(
        "dhcp=isc-dhcp-server; if [ -x /usr/sbin/dnsmasq ]; then dhcp=dnsmasq; fi; \
         for s in {SERVICES} $dhcp; do \
         systemctl is-active --quiet $s || {{ echo \"$s is not active:\"; \
         systemctl --no-pager status $s | tail -n 12; exit 1; }}; done"
    )
}
