use std::path::Path;

use insta::assert_snapshot;

use super::*;
use crate::config::{Auto, Lab};
use crate::host::{Accel, Backend, Distribution, PerArch, Reconnect, sample};

fn lab(backend: Backend) -> Lab {
    let auto = Auto {
        backend,
        distribution: Distribution::Debian,
    };
    Lab::parse("", "lab.toml", "lab", auto).unwrap()
}

fn host(os: Os, kind: AccelKind) -> Host {
    let accel = |kind, cpu: &str| Accel {
        kind,
        cpu: cpu.to_owned(),
    };
    let other = if kind == AccelKind::Hvf {
        AccelKind::Tcg
    } else {
        kind
    };
    let cpu = |kind| match kind {
        AccelKind::Tcg => "max",
        AccelKind::Kvm | AccelKind::Hvf => "host",
    };
    Host {
        os,
        accel: PerArch {
            aarch64: accel(
                kind,
                if kind == AccelKind::Tcg {
                    "cortex-a72"
                } else {
                    "host"
                },
            ),
            x86_64: accel(other, cpu(other)),
        },
        ..sample()
    }
}

/// One option a line, as a person would write it.
fn show(argv: &[String]) -> String {
    let mut text = argv[0].clone();
    for word in &argv[1..] {
        text.push_str(if word.starts_with('-') { "\n  " } else { " " });
        text.push_str(word);
    }
    text
}

fn server_line(host: &Host, backend: Backend, content: bool) -> String {
    let lab = lab(backend);
    show(&server(&ServerSpec {
        host,
        network: &lab.network,
        server: &lab.server,
        seed: Path::new("../../server/seed.img"),
        content: content.then_some(Path::new("../../content.img")),
    }))
}

fn target_line(host: &Host, backend: Backend) -> String {
    line_of(host, &lab(backend))
}

fn line_of(host: &Host, lab: &Lab) -> String {
    show(&target(&TargetSpec {
        host,
        network: &lab.network,
        target: &lab.targets[0],
    }))
}

#[test]
fn linux_tcg_hub() {
    let host = host(Os::Linux, AccelKind::Tcg);
    assert_snapshot!(server_line(&host, Backend::Hub, true));
    assert_snapshot!(target_line(&host, Backend::Hub));
}

/// By PXE is how it always was: memory that was saved belongs to a command line.
#[test]
fn by_http_there_is_one_option_more() {
    let host = host(Os::Linux, AccelKind::Tcg);
    let boots = |boot: &str| {
        let auto = Auto {
            backend: Backend::Hub,
            distribution: Distribution::Debian,
        };
        let text = format!("[[target]]\nboot = {boot:?}\n");
        line_of(&host, &Lab::parse(&text, "lab.toml", "lab", auto).unwrap())
    };
    let pxe = boots("pxe");
    assert_eq!(pxe, target_line(&host, Backend::Hub));
    let http = boots("http");
    let more = "\n  -fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=no";
    assert_eq!(http.replace(more, ""), pxe);
    assert_snapshot!(http);
}

#[test]
fn linux_kvm_bridge() {
    let host = host(Os::Linux, AccelKind::Kvm);
    assert_snapshot!(server_line(&host, Backend::Bridge, true));
    assert_snapshot!(target_line(&host, Backend::Bridge));
}

#[test]
fn macos_hvf_hub() {
    let host = host(Os::Macos, AccelKind::Hvf);
    assert_snapshot!(server_line(&host, Backend::Hub, true));
    assert_snapshot!(target_line(&host, Backend::Hub));
}

#[test]
fn linux_tcg_switch() {
    let host = host(Os::Linux, AccelKind::Tcg);
    let netdevs = |line: String| {
        let netdevs = line.lines().filter(|line| line.contains("netdev "));
        netdevs
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let switch = |path: &str| {
        format!("-netdev stream,id=lab,server=off,addr.type=unix,addr.path={path},reconnect-ms=500")
    };
    let server = netdevs(server_line(&host, Backend::Switch, true));
    assert_eq!(server[1..], [switch("switch.sock")]);
    let target = netdevs(target_line(&host, Backend::Switch));
    assert_eq!(target, [switch("../server/switch.sock")]);
}

#[test]
fn macos_hvf_vmnet() {
    let host = host(Os::Macos, AccelKind::Hvf);
    assert_snapshot!(server_line(&host, Backend::Vmnet, false));
    assert_snapshot!(target_line(&host, Backend::Vmnet));
}

#[test]
fn macos_hvf_socket_vmnet() {
    let host = host(Os::Macos, AccelKind::Hvf);
    assert_snapshot!(server_line(&host, Backend::SocketVmnet, false));
    assert_snapshot!(target_line(&host, Backend::SocketVmnet));
}

#[test]
fn the_way_to_connect_again_is_the_one_that_the_version_has() {
    let with = |reconnect| {
        let mut host = host(Os::Linux, AccelKind::Tcg);
        host.qemu.features.reconnect = reconnect;
        let line = target_line(&host, Backend::Hub);
        line.lines()
            .find(|line| line.contains("-netdev"))
            .unwrap()
            .trim()
            .to_owned()
    };
    let base = "-netdev stream,id=lab,server=off,addr.type=unix,addr.path=../server/target1.sock";
    assert_eq!(
        with(Reconnect::ReconnectMs),
        format!("{base},reconnect-ms=500")
    );
    assert_eq!(with(Reconnect::Reconnect), format!("{base},reconnect=1"));
    assert_eq!(with(Reconnect::None), base);
}

#[test]
fn commas_in_paths_are_doubled_and_the_sandbox_can_be_left_out() {
    assert_eq!(value(Path::new("/a,b/c")), "/a,,b/c");
    let argv: Vec<String> = ["q", "-sandbox", "on,x=deny", "-m", "1"]
        .map(str::to_owned)
        .into();
    assert_eq!(without_sandbox(&argv), ["q", "-m", "1"]);
}

#[test]
fn taps_have_names_that_fit_and_differ() {
    let a = crate::net::tap_name("lab", "server");
    assert_eq!(a.len(), 13);
    assert_ne!(a, crate::net::tap_name("lab", "target1"));
    assert_ne!(a, crate::net::tap_name("b", "server"));
}
