//! How the lab segment and the server's uplink are made, by backend.
//!
//! - `hub`: the segment is a hub in the server's QEMU; each target is a
//!   `stream` client of a Unix socket that is plugged into the hub while the
//!   server runs. No privilege is needed. A socket takes one client.
//! - `switch`: the segment is a process of ours, of which all QEMUs are clients.
//! - `vmnet`: Apple's framework makes the segment. A network UUID isolates it
//!   and turns Apple's DHCP off.
//! - `socket_vmnet`: the same, made by a daemon; QEMU stays without privilege.
//! - `bridge`: taps on a Linux bridge, so that real machines can be on the segment.

pub mod bridge;
mod forward;
pub mod frames;

pub use forward::{from_usernet, lease_of};

use crate::config::Network;
use crate::host::{Backend, Host, Reconnect};
use crate::state::VmPaths;
use crate::switch;
use crate::vm::args::Line;

/// Number of the hub in the server's QEMU.
pub const HUB: u32 = 1;

/// The server's way to the outside, with SSH and HTTP forwarded to ports of
/// 127.0.0.1 that the system chooses.
pub(crate) fn uplink(line: &mut Line, network: &Network) {
    let netdev = match network.backend {
        Backend::Vmnet => "vmnet-shared,id=uplink",
        Backend::Hub | Backend::Switch | Backend::SocketVmnet | Backend::Bridge => {
            "user,id=uplink,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:80"
        }
    };
    line.opt("netdev", netdev);
}

/// The server's end of the segment.
pub(crate) fn server_segment(line: &mut Line, host: &Host, network: &Network) {
    match network.backend {
        Backend::Hub => {
            line.opt("netdev", format!("hubport,id=lab,hubid={HUB}"));
            // A hub with a single port takes nothing from it: the guest's queue
            // would stall until a target comes, and for good. A port with
            // nothing behind it takes everything.
            line.opt("netdev", format!("hubport,id=sink,hubid={HUB}"))
        }
        Backend::Switch => client(line, host, switch::SOCKET),
        _ => shared_segment(line, network, "server"),
    };
}

/// A target's end of the segment.
pub(crate) fn target_segment(line: &mut Line, host: &Host, network: &Network, name: &str) {
    match network.backend {
        Backend::Hub => client(line, host, &format!("../server/{name}.sock")),
        Backend::Switch => client(line, host, &format!("../server/{}", switch::SOCKET)),
        _ => shared_segment(line, network, name),
    };
}

/// A client of the socket at `path`, which connects again where QEMU can.
fn client<'a>(line: &'a mut Line, host: &Host, path: &str) -> &'a mut Line {
    let reconnect = match host.qemu.features.reconnect {
        Reconnect::ReconnectMs => ",reconnect-ms=500",
        Reconnect::Reconnect => ",reconnect=1",
        Reconnect::None => "",
    };
    line.opt(
        "netdev",
        format!("stream,id=lab,server=off,addr.type=unix,addr.path={path}{reconnect}"),
    )
}

/// Makes what a VM's end of the segment needs on the host before it starts.
pub(crate) fn plug(network: &Network, vm: &VmPaths, name: &str) -> anyhow::Result<()> {
    match network.backend {
        Backend::Bridge => bridge::plug(network, name),
        Backend::Switch => switch::ensure(&vm.sibling("server")),
        Backend::Hub | Backend::Vmnet | Backend::SocketVmnet => Ok(()),
    }
}

fn shared_segment<'a>(line: &'a mut Line, network: &Network, vm: &str) -> &'a mut Line {
    match network.backend {
        Backend::Vmnet => {
            let mut usable = network.subnet.hosts();
            let first = usable.next().unwrap_or(network.address);
            let last = usable.next_back().unwrap_or(first);
            line.opt(
                "netdev",
                format!(
                    "vmnet-host,id=lab,start-address={first},end-address={last},subnet-mask={},net-uuid={}",
                    network.netmask, network.net_uuid
                ),
            )
        }
        Backend::SocketVmnet => line.opt(
            "netdev",
            format!(
                "stream,id=lab,server=off,addr.type=unix,addr.path={}",
                daemon_socket(&network.lab)
            ),
        ),
        Backend::Hub | Backend::Switch | Backend::Bridge => line.opt(
            "netdev",
            format!(
                "tap,id=lab,ifname={},script=no,downscript=no,vhost=off",
                tap_name(&network.lab, vm)
            ),
        ),
    }
}

/// Where the lab's own `socket_vmnet` listens.
pub fn daemon_socket(lab: &str) -> String {
    format!("/var/run/socket_vmnet.lab-{lab}")
}

/// The tap of one VM. Interfaces have names of at most 15 characters, so the
/// lab's and the VM's name enter by their hash.
pub fn tap_name(lab: &str, vm: &str) -> String {
    let hash = blake3::hash(format!("{lab}/{vm}").as_bytes()).to_hex();
    format!("lab{}", &hash[..10])
}
