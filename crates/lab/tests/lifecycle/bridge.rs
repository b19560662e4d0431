//! Taps on a bridge, where this may be done at all.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::net::tap_name;
use lab::vm::stop;

use crate::bench::Bench;

/// Whether network interfaces can be made here: as root, with the tun device.
fn allowed() -> bool {
    let ip = |words: &[&str]| {
        Command::new("ip")
            .args(words)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    ip(&["tuntap", "add", "dev", "labprobe0", "mode", "tap"])
        && ip(&["tuntap", "del", "dev", "labprobe0", "mode", "tap"])
}

#[test]
fn vms_are_plugged_into_a_bridge_that_goes_with_the_last_of_them() {
    if !allowed() {
        eprintln!("skipped: network interfaces can't be made here");
        return;
    }
    let name = format!("t{}", std::process::id());
    let bench = Bench::named(&name);
    let bridge = format!("lab{}", std::process::id());
    bench.configure(&format!(
        "[network]\nbackend = 'bridge'\nbridge = '{bridge}'\n"
    ));
    let sys = Path::new("/sys/class/net");
    let port = |vm: &str| sys.join(&bridge).join("brif").join(tap_name(&name, vm));
    bench.start().unwrap();
    bench.target("target1").unwrap();
    assert!(port("server").exists() && port("target1").exists());
    stop(&bench.server(), Duration::ZERO).unwrap();
    assert!(!port("server").exists() && port("target1").exists());
    assert!(!sys.join(tap_name(&name, "server")).exists());
    stop(&bench.lab.vm("target1"), Duration::ZERO).unwrap();
    assert!(!sys.join(tap_name(&name, "target1")).exists());
    assert!(!sys.join(&bridge).exists(), "the bridge was left behind");
}
