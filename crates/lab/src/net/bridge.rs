//! Taps on a bridge of Linux's, made when a VM starts and gone when it stops.
//!
//! The bridge may be the user's own, with a real network card in it; it is
//! made if it isn't there, and one that was made here goes with its last tap.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::tap_name;
use crate::config::Network;

/// The mark on a bridge that was made here.
const MARK: &str = "made by lab";

fn sys(interface: &str) -> PathBuf {
    Path::new("/sys/class/net").join(interface)
}

/// Makes the tap of `vm` and puts it on the bridge.
pub fn plug(network: &Network, vm: &str) -> anyhow::Result<()> {
    let (bridge, tap) = (network.bridge.as_str(), tap_name(&network.lab, vm));
    if !sys(bridge).exists() {
        ip(&[
            "link",
            "add",
            bridge,
            "type",
            "bridge",
            "forward_delay",
            "0",
        ])?;
        ip(&["link", "set", bridge, "alias", MARK])?;
        ip(&["link", "set", bridge, "up"])?;
    }
    if !sys(bridge).join("bridge").exists() {
        bail!(
            "the network interface {bridge} is no bridge: choose another name for `bridge` in lab.toml"
        );
    }
    if !sys(&tap).exists() {
        ip(&["tuntap", "add", "dev", &tap, "mode", "tap"])?;
    }
    ip(&["link", "set", &tap, "master", bridge, "up"])
}

/// Removes the tap in this command line, if there is one.
pub fn unplug(argv: &[String]) -> anyhow::Result<()> {
    let Some(tap) = argv
        .iter()
        .find_map(|word| word.strip_prefix("tap,id=lab,ifname=")?.split(',').next())
    else {
        return Ok(());
    };
    let bridge = std::fs::read_link(sys(tap).join("master")).ok();
    let bridge = bridge.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    if sys(tap).exists() {
        ip(&["tuntap", "del", "dev", tap, "mode", "tap"])?;
    }
    let Some(bridge) = bridge else { return Ok(()) };
    let ours =
        std::fs::read_to_string(sys(&bridge).join("ifalias")).is_ok_and(|mark| mark.trim() == MARK);
    let empty =
        std::fs::read_dir(sys(&bridge).join("brif")).is_ok_and(|mut ports| ports.next().is_none());
    if ours && empty {
        ip(&["link", "del", &bridge])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("cannot run ip; install iproute2")?;
    if !output.status.success() {
        bail!(
            "`ip {}` failed: {}\nthe bridge backend needs root: run make under sudo, or set backend = \"hub\" in lab.toml",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
