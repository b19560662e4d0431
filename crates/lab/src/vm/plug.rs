//! What is asked of a QEMU that runs: where it forwards to, and ports of its
//! hub for targets.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};
use super::record::{Forwards, State};
use crate::config::{Network, Resolved};
use crate::host::Backend;
use crate::net;
use crate::state::LabPaths;

/// How long macOS's DHCP server may take to give the server an address.
const LEASE: Duration = Duration::from_secs(120);

pub(super) fn forwards(qmp: &mut Qmp, network: &Network) -> anyhow::Result<Forwards> {
    if network.backend == Backend::Vmnet {
        let deadline = Instant::now() + LEASE;
        loop {
            let leases = std::fs::read_to_string("/var/db/dhcpd_leases").unwrap_or_default();
            if let Some(address) = net::lease_of(&leases, network.uplink_mac) {
                return Ok(Forwards {
                    address: address.to_string(),
                    ssh: 22,
                    http: 80,
                });
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the server got no address on its uplink within {} s; its console: `lab console server`",
                LEASE.as_secs()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let text = qmp.human("info usernet")?;
    let port = |guest: u16| {
        net::from_usernet(&text, guest).with_context(|| {
            format!("QEMU doesn't say which port it forwards to the guest's {guest}:\n{text}")
        })
    };
    Ok(Forwards {
        address: "127.0.0.1".to_owned(),
        ssh: port(22)?,
        http: port(80)?,
    })
}

/// Gives a target a port of the hub in the server's QEMU. Once it is there,
/// the target may come and go.
pub fn ensure_port(lab: &LabPaths, target: &str) -> anyhow::Result<()> {
    let server = lab.vm("server");
    anyhow::ensure!(
        matches!(State::of(&server)?, State::Running(_)),
        "{target} is plugged into the server, which does not run: start it first (`lab vm start server`)"
    );
    let mut qmp = Qmp::connect(&server.qmp(), Duration::from_secs(10))?;
    for netdev in hub_port(target) {
        add_netdev(&mut qmp, &netdev)?;
    }
    Ok(())
}

/// A socket in the server's folder for one client called `name`, and its port
/// of the hub; to be made in this order, and unmade in the other.
pub(crate) fn hub_port(name: &str) -> [Value; 2] {
    let socket = json!({ "type": "unix", "path": format!("{name}.sock") });
    let link = format!("link-{name}");
    [
        json!({ "type": "stream", "id": link, "server": true, "addr": socket }),
        json!({ "type": "hubport", "id": format!("port-{name}"), "hubid": net::HUB, "netdev": link }),
    ]
}

fn add_netdev(qmp: &mut Qmp, netdev: &Value) -> anyhow::Result<()> {
    match qmp.execute("netdev_add", netdev.clone()) {
        Err(QmpError::Refused { description, .. }) if description.starts_with("Duplicate ID") => {
            Ok(())
        }
        other => other.map(drop).map_err(Into::into),
    }
}

/// A new server knows nothing of targets that run: their QEMUs try to connect
/// again until they can.
pub(super) fn plug_running_targets(
    lab: &LabPaths,
    config: &Resolved,
    network: &Network,
) -> anyhow::Result<()> {
    if network.backend != Backend::Hub {
        return Ok(());
    }
    for name in config.target_names()? {
        if matches!(State::of(&lab.vm(&name))?, State::Running(_)) {
            ensure_port(lab, &name)?;
        }
    }
    Ok(())
}
