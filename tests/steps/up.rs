//! The lab comes up from nothing, and is what it says it is.

use anyhow::ensure;
use e2e::{Checkout, Outcome};

pub(crate) fn comes_up(checkout: &Checkout) -> anyhow::Result<()> {
    let up = checkout.make(&["up"])?.success()?;
    eprintln!("    make up: {:.0} s", up.took.as_secs_f64());
    up.says(&["server", "target1", "ready"]).map(drop)
}

pub(crate) fn services(checkout: &Checkout) -> anyhow::Result<()> {
    let asked = "uname -m; systemctl is-active isc-dhcp-server tftpd-hpa nginx bootd";
    let told = checkout.ssh("server", asked)?.success()?;
    let lines: Vec<&str> = told.text.lines().collect();
    ensure!(
        lines == ["aarch64", "active", "active", "active", "active"],
        "the server says {lines:?}"
    );
    // DHCP on the lab interface only, and nothing listens where it need not
    checkout
        .ssh(
            "server",
            "ss -H -l -u -n -p 2>/dev/null; ps -C dhcpd -o args=; ss -Hltn",
        )?
        .success()?
        .says(&["lab0", "127.0.0.1:8080", "127.0.0.1:8081"])?
        .keeps_quiet_about(&["0.0.0.0:8080", "*:8080"])?;
    checkout.ssh("server", "exit 7")?.fails_with(&[])?;
    // one that dies is started again
    let killed = "for unit in isc-dhcp-server tftpd-hpa nginx bootd; do \
         sudo systemctl kill --signal=KILL $unit; \
         for try in $(seq 60); do \
         again=$(systemctl show -p NRestarts -p ActiveState --value $unit | xargs); \
         [ \"$again\" = 'active 1' ] || [ \"$again\" = '1 active' ] && break; sleep 1; done; \
         echo $unit: $again; done; ps -C dhcpd,in.tftpd -o comm=";
    let told = checkout.ssh("server", killed)?.success()?;
    ensure!(
        told.text.matches("active").count() == 4 && !told.text.contains("activating"),
        "not all run again: {}",
        told.text
    );
    told.says(&["dhcpd", "in.tftpd"]).map(drop)
}

pub(crate) fn target(checkout: &Checkout) -> anyhow::Result<()> {
    let asked = "uname -m; cloud-init status; findmnt -no SOURCE /; hostname";
    let told = checkout.ssh("target1", asked)?.success()?;
    let lines: Vec<&str> = told.text.lines().collect();
    ensure!(
        lines == ["x86_64", "status: done", "/dev/vda2", "target1"],
        "the target says {lines:?}"
    );
    // a package of lab.toml, a root that was grown, no password, our user
    checkout
        .ssh("target1", "tree --version; df --output=size -BG / | tail -n1; sudo passwd -S lab; cat /etc/lab-release")?
        .success()?
        .says(&["tree v", "8G", "lab L"])
        .map(drop)
}

pub(crate) fn beyond(checkout: &Checkout) -> anyhow::Result<()> {
    checkout
        .ssh("target1", "ip route show default; sudo apt-get update")?
        .success()?
        .says(&["via 192.168.105.1", "InRelease"])?
        .keeps_quiet_about(&["Failed to fetch", "Temporary failure"])
        .map(drop)
}

pub(crate) fn consoles(checkout: &Checkout) -> anyhow::Result<()> {
    let server = checkout.read("build/labs/lab/vm/server/serial.log")?;
    in_order(
        "server",
        &server,
        &["BdsDxe: starting", "GNU GRUB", "Linux version", "login:"],
    )?;
    let target = checkout.read("build/labs/lab/vm/target1/serial.log")?;
    in_order(
        "target1",
        &target,
        &[
            "BdsDxe",
            ">>Start PXE over IPv4",
            "iPXE",
            "Linux version",
            "lab: installing",
            "lab: installed",
            "GNU GRUB",
            "Linux version",
            "login:",
        ],
    )?;
    for vm in ["server", "target1"] {
        let arguments = checkout.record(vm)?["argv"].to_string();
        ensure!(
            !arguments.contains("-kernel"),
            "{vm} was started with -kernel"
        );
    }
    Ok(())
}

fn in_order(machine: &str, console: &str, stages: &[&str]) -> anyhow::Result<()> {
    let mut rest = console;
    for stage in stages {
        let Some(at) = rest.find(stage) else {
            let text = Outcome {
                command: format!("the console of {machine}"),
                code: None,
                text: rest.to_owned(),
                took: std::time::Duration::ZERO,
            };
            return text.says(&[stage]).map(drop);
        };
        rest = &rest[at + stage.len()..];
    }
    Ok(())
}
