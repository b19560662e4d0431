//! The NIC that the machine booted from.

use std::{fs, net::UdpSocket, path::Path, thread, time::Duration};

use anyhow::{Context, bail};
use protocol::Mac;

use super::sys;
use crate::cmdline::Address;

/// How long the NIC's driver may take to show it, and the NIC to find its link.
const PATIENCE: u32 = 100;
const STEP: Duration = Duration::from_millis(100);

/// Gives the NIC with address `mac` the address that iPXE was given.
pub(super) fn up(mac: Mac, address: Address) -> anyhow::Result<()> {
    let nic = wait_for(mac)?;
    eprintln!("lab: {nic} ({mac}) gets {}", address.ip);
    let socket = UdpSocket::bind("0.0.0.0:0").context("can't make a socket")?;
    sys::configure(&socket, &nic, address.ip, address.netmask)
        .with_context(|| format!("can't give {nic} the address {}", address.ip))?;
    if let Some(gateway) = address.gateway
        && let Err(error) = sys::default_route(&socket, gateway)
    {
        // the server is on the same segment: nothing here needs a gateway
        eprintln!("lab: no route through {gateway}: {error}");
    }
    wait_for_link(&nic);
    Ok(())
}

fn wait_for(mac: Mac) -> anyhow::Result<String> {
    let class = Path::new("/sys/class/net");
    let mut seen = Vec::new();
    for _ in 0..PATIENCE {
        seen.clear();
        for entry in fs::read_dir(class).context("is /sys mounted?")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let address = fs::read_to_string(class.join(&name).join("address")).unwrap_or_default();
            if address.trim().parse() == Ok(mac) {
                return Ok(name);
            }
            seen.push(format!("{name} {}", address.trim()));
        }
        thread::sleep(STEP);
    }
    bail!(
        "no NIC has the address {mac}; there are: {}",
        seen.join(", ")
    )
}

fn wait_for_link(nic: &str) {
    let carrier = format!("/sys/class/net/{nic}/carrier");
    for _ in 0..PATIENCE {
        if fs::read_to_string(&carrier).is_ok_and(|carrier| carrier.trim() == "1") {
            return;
        }
        thread::sleep(STEP);
    }
    eprintln!("lab: {nic} shows no link; trying all the same");
}
