//! `lab server ready`: waits until the server is up, and says how far it is.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::boot_log::BootLog;
use super::place::{self, Place};
use super::trouble::failed;
use crate::config::Resolved;
use crate::diagnose::Saved;
use crate::fsutil;
use crate::probe;
use crate::ssh;
use crate::state::{LabArgs, LabPaths};
use crate::target::{WatchError, WatchKind};
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
    let vm = lab.vm("server");
    Saved::forget(&vm);
    come_up(&lab, Duration::from_secs(args.limit)).inspect_err(|error| {
        if let Some(error) = error.downcast_ref::<WatchError>() {
            error.keep(&vm);
        }
    })
}

fn come_up(lab: &LabPaths, limit: Duration) -> anyhow::Result<()> {
    let record = wait_for_http(lab, limit)?;
    if record.resumed && vm::is_set_up(&lab.vm("server")) {
        // cloud-init had ended, well, when it was suspended
        wake(lab, "server")?;
    } else {
        let told = ask_cloud_init(lab).map_err(|error| {
            let text = format!("{error:#}");
            failed(lab, WatchKind::NoServer, place::SET_UP, &text, &text)
        })?;
        check_cloud_init(&told).map_err(|error| refused(lab, place::SET_UP, &error))?;
        check_services(lab).map_err(|error| refused(lab, place::SERVICES, &error))?;
    }
    // whatever the services say of themselves: an answer to a real request
    probe::run(lab, &Resolved::new(lab.config()).network()?)
        .map_err(|error| refused(lab, place::SERVICES, &error))?;
    let instance = lab.vm("server").set_up();
    fsutil::write_if_changed(
        &instance,
        (record.instance.clone() + "\n").as_bytes(),
        0o644,
    )?;
    eprintln!("::stage server ready");
    Ok(())
}

/// A check of the server that is up said no.
fn refused(lab: &LabPaths, place: Place, error: &anyhow::Error) -> WatchError {
    let text = format!("{error:#}");
    failed(lab, WatchKind::Failed, place, &text, &text)
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
            State::Held(_) => anyhow::bail!("the server is being suspended; `make up` resumes it"),
            State::Died(record) => {
                let text = format!(
                    "the server's QEMU (pid {}) died while it came up; see {} and run `make up` again",
                    record.process.pid,
                    vm.qemu_log().display()
                );
                return Err(failed(lab, WatchKind::Gone, log.place(), &text, "").into());
            }
            State::Stopped => anyhow::bail!("the server does not run; `make up` starts it"),
        };
        if let Some(failure) = log.failure() {
            let text = format!("the server's set-up failed: {failure}");
            return Err(failed(lab, WatchKind::Failed, log.place(), &text, "").into());
        }
        let Err(why) = vm::ready(&record) else {
            return Ok(record);
        };
        if start.elapsed() >= limit || log.place().stands_still(log.silent()) {
            let text = format!(
                "the server did not come up within {} s, and its console has said nothing for {} s ({why}); the last stage was {}",
                start.elapsed().as_secs(),
                log.silent().as_secs(),
                log.last().unwrap_or("power on"),
            );
            return Err(failed(lab, WatchKind::StandsStill, log.place(), &text, &why).into());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Waits for cloud-init to end; what it says of that, as JSON.
fn ask_cloud_init(lab: &LabPaths) -> anyhow::Result<String> {
    // the command's exit status says the same once more
    ssh::on_server(lab, "cloud-init status --wait --format json || true")
}

fn check_cloud_init(text: &str) -> anyhow::Result<()> {
    let told: CloudInit = serde_json::from_str(text)
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

/// Every service is active, or the error says which isn't, and its last lines.
fn check_services(lab: &LabPaths) -> anyhow::Result<()> {
    let told = ssh::on_server(lab, &services())?;
    let told = told.trim();
    anyhow::ensure!(told.is_empty(), "a service of the server is down\n{told}");
    Ok(())
}

/// A script that says of each service that isn't active what systemd knows. One
/// that still starts, or starts again, has half a minute.
fn services() -> String {
    format!(
        "dhcp=isc-dhcp-server; if [ -x /usr/sbin/dnsmasq ]; then dhcp=dnsmasq; fi; n=0; \
         for s in {SERVICES} $dhcp; do \
         while [ $n -lt 30 ] && [ \"$(systemctl is-active $s)\" = activating ]; do \
         n=$((n + 1)); sleep 1; done; \
         systemctl is-active --quiet $s || {{ echo \"$s is not active:\"; \
         sudo systemctl --no-pager -n 6 status $s; }}; done; true"
    )
}
