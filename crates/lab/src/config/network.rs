//! The checks of `[network]`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use uuid::Uuid;

use super::check::{Checks, derived_mac, host_name, identity, span, usable};
use super::error::Problem;
use super::model::Network;
use super::raw::RawNetwork;
use crate::host::Backend;

const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 105, 0), 24);

/// The network on the far side of the server's uplink with `-netdev user`.
pub(crate) const UPLINK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 2, 0), 24);

pub(super) fn check(checks: &mut Checks, raw: &RawNetwork, lab: &str, auto: Backend) -> Network {
    let backend = raw.backend.unwrap_or_default().resolve(auto);
    let subnet = subnet(checks, raw, backend);
    let nth = |n: u32| Ipv4Addr::from(u32::from(subnet.network()).saturating_add(n));
    let server = checks.value(&raw.server, nth(1));
    if !usable(subnet, server) {
        outside(
            checks,
            span(&raw.server),
            subnet,
            server,
            "the server's address",
        );
    }
    let (dhcp_start, dhcp_end) = range(checks, raw, subnet, server);
    let domain = raw
        .domain
        .as_ref()
        .map_or("lab.test", |domain| domain.get_ref())
        .to_owned();
    if let Some(why) = domain.split('.').find_map(|label| host_name(label).err()) {
        let message = format!("{domain:?} is not a domain: {why} in each part");
        checks.add(Problem::new(span(&raw.domain), message));
    }
    let bridge = raw
        .bridge
        .as_ref()
        .map_or("lab0", |bridge| bridge.get_ref())
        .to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if bridge.is_empty() || bridge.len() > 15 || !bridge.chars().all(plain) {
        let message = format!(
            "{bridge:?} is not the name of a network interface (1 to 15 of a-z, 0-9, -, _ and .)"
        );
        checks.add(Problem::new(span(&raw.bridge), message));
    }
    Network {
        lab: lab.to_owned(),
        address: subnet.network(),
        prefix: subnet.prefix_len(),
        netmask: subnet.netmask(),
        broadcast: subnet.broadcast(),
        subnet,
        server,
        dhcp_start,
        dhcp_end,
        domain,
        backend,
        bridge,
        net_uuid: uuid(checks, raw, lab),
        server_mac: derived_mac(&format!("{lab}/server/segment")),
        uplink_mac: derived_mac(&format!("{lab}/server/uplink")),
    }
}

fn subnet(checks: &mut Checks, raw: &RawNetwork, backend: Backend) -> Ipv4Net {
    let Some(typed) = &raw.subnet else {
        return SUBNET;
    };
    let problem = match typed.get_ref().parse::<Ipv4Net>() {
        Err(_) => Problem::new(
            typed.span(),
            format!(
                "{:?} is not a subnet: write ADDRESS/LENGTH, as in {SUBNET}",
                typed.get_ref()
            ),
        ),
        Ok(net) if net.addr() != net.network() => Problem::new(
            typed.span(),
            format!("{net} is an address in a subnet, not a subnet"),
        )
        .hint(format!("did you mean {}?", net.trunc())),
        Ok(net) if !(8..=29).contains(&net.prefix_len()) => Problem::new(
            typed.span(),
            format!(
                "a lab needs a subnet from /8 to /29, not /{}",
                net.prefix_len()
            ),
        ),
        Ok(net)
            if matches!(backend, Backend::Hub | Backend::Switch)
                && (net.contains(&UPLINK) || UPLINK.contains(&net)) =>
        {
            Problem::new(
                typed.span(),
                format!("{net} overlaps {UPLINK}, which the server's uplink uses"),
            )
        }
        Ok(net) => return net,
    };
    checks.add(problem);
    SUBNET
}

fn range(
    checks: &mut Checks,
    raw: &RawNetwork,
    subnet: Ipv4Net,
    server: Ipv4Addr,
) -> (Ipv4Addr, Ipv4Addr) {
    let base = u32::from(subnet.network());
    let size = u32::from(subnet.broadcast()) - base;
    // .100 to .199 of a /24; the same share of another size.
    let nth = |n: u64| Ipv4Addr::from(base + u32::try_from(u64::from(size) * n / 255).unwrap_or(0));
    let default = (nth(100), nth(199));
    let Some(typed) = &raw.dhcp_range else {
        if (default.0..=default.1).contains(&server) {
            let message = format!(
                "the server's address is in the range for DHCP, {} to {}",
                default.0, default.1
            );
            let problem = Problem::new(span(&raw.server), message);
            checks.add(problem.hint("choose another address, or set dhcp-range"));
        }
        return default;
    };
    let [start, end] = typed.get_ref().as_slice() else {
        checks.add(Problem::new(
            typed.span(),
            "dhcp-range must be two addresses, the first and the last",
        ));
        return default;
    };
    let first = checks.value(&Some(start.clone()), default.0);
    let last = checks.value(&Some(end.clone()), default.1);
    for (address, typed) in [(first, start), (last, end)] {
        if !usable(subnet, address) {
            outside(
                checks,
                typed.span(),
                subnet,
                address,
                "this end of dhcp-range",
            );
        }
    }
    if first > last {
        checks.add(Problem::new(
            typed.span(),
            format!("dhcp-range runs backwards, from {first} to {last}"),
        ));
    } else if (first..=last).contains(&server) {
        let message = format!("dhcp-range holds {server}, the server's own address");
        checks.add(Problem::new(typed.span(), message));
    }
    (first, last)
}

fn outside(
    checks: &mut Checks,
    at: std::ops::Range<usize>,
    subnet: Ipv4Net,
    address: Ipv4Addr,
    what: &str,
) {
    let message = if subnet.contains(&address) {
        format!("{what}, {address}, is the subnet's network or broadcast address")
    } else {
        format!("{what}, {address}, is outside the subnet {subnet}")
    };
    let last = Ipv4Addr::from(u32::from(subnet.broadcast()).saturating_sub(1));
    let first = Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1));
    checks.add(Problem::new(at, message).hint(format!("use an address from {first} to {last}")));
}

fn uuid(checks: &mut Checks, raw: &RawNetwork, lab: &str) -> Uuid {
    let Some(typed) = &raw.net_uuid else {
        return identity(lab, "segment");
    };
    typed.get_ref().parse().unwrap_or_else(|_| {
        let message = format!(
            "{:?} is not a UUID; leave net-uuid out to have one made",
            typed.get_ref()
        );
        checks.add(Problem::new(typed.span(), message));
        Uuid::nil()
    })
}
