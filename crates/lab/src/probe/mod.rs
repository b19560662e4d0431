//! `lab probe`: real requests to the services of the server, from the lab
//! segment, as a machine that comes up would make them.
//!
//! A service that is active may still not serve: a DHCP server on the wrong
//! interface, a packet filter, a content disk that isn't mounted. So the host
//! plugs itself into the segment, as one more machine, and asks:
//!
//! - DHCP: DISCOVER as firmware, and as iPXE. The offers are left unanswered,
//!   so that no lease stays behind (RFC 2131, section 3.1).
//! - TFTP: the first block of the boot program, and its size.
//! - HTTP: bootd behind nginx, and the first bytes of the kernel.
//!
//! All are asked at once; the slowest is DHCP, since the server looks for
//! somebody who has the address already (for a second) before it offers it.
//! IP and TCP are smoltcp's, in this process: the host's own network is not
//! involved and no privilege is needed.

mod ask;
mod cli;
mod dhcp;
#[cfg(test)]
mod fake;
mod http;
mod link;
mod plan;
mod port;
mod stack;
#[cfg(test)]
mod tests;
mod tftp;

use std::time::Duration;

use anyhow::bail;

pub use ask::{Answer, Silence};
pub use cli::{Args, run as cli};

use crate::config::Network;
use crate::host::Backend;
use crate::state::LabPaths;

/// How long a service may take to answer. Before an offer ISC's dhcpd looks for
/// a second whether the address is taken; dnsmasq for three, and for one address
/// after the other.
pub const LIMIT: Duration = Duration::from_secs(12);

/// Asks every service and returns their answers.
///
/// # Errors
///
/// Names each service that didn't answer, or not as it should, and what to
/// look at. Where the host has no way into the segment, nothing is asked, which
/// is said, and there are no answers.
pub fn run(lab: &LabPaths, network: &Network) -> anyhow::Result<Vec<Answer>> {
    let answers = ask(lab, network, LIMIT)?;
    let silent: Vec<String> = answers
        .iter()
        .filter_map(|answer| {
            let silence = answer.said.as_ref().err()?;
            let look = match lab.name() {
                "lab" => silence.look.clone(),
                name => silence
                    .look
                    .replace("VM=server", &format!("VM=server LAB={name}")),
            };
            Some(format!(
                "\n  {}: {}\n    look: {look}",
                answer.question, silence.what
            ))
        })
        .collect();
    if !silent.is_empty() {
        bail!(
            "the server's services don't serve the lab segment as they should{}",
            silent.concat()
        );
    }
    Ok(answers)
}

/// As [`run`], but what went wrong is among the answers.
pub fn ask(lab: &LabPaths, network: &Network, limit: Duration) -> anyhow::Result<Vec<Answer>> {
    let plan = plan::Plan::new(network);
    match network.backend {
        Backend::Hub => {
            let mut port = port::Port::open(lab)?;
            let answers = ask::ask(port.stream()?, &plan, limit)?;
            port.close()?;
            Ok(answers)
        }
        Backend::Switch => ask::ask(port::switch(lab)?, &plan, limit),
        Backend::Vmnet | Backend::SocketVmnet | Backend::Bridge => {
            eprintln!(
                "note: the services are not probed: with this backend the host has no way of its own into the lab segment"
            );
            Ok(Vec::new())
        }
    }
}
