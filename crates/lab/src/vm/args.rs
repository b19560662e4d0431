//! QEMU's command lines, as pure functions of configuration, host and state.
//!
//! Nothing that changes from start to start is in them: forwarded ports are
//! chosen by the system (port 0) and asked for afterwards, and targets are
//! plugged into a running server. So a command line can be part of a key.

use std::path::Path;

use crate::config::{self, BootWay};
use crate::host::{AccelKind, Arch, Host, Os};
use crate::net;

/// What the server's command line is made from.
#[derive(Debug, Clone, Copy)]
pub struct ServerSpec<'a> {
    /// What the host has.
    pub host: &'a Host,
    /// The lab segment.
    pub network: &'a config::Network,
    /// The server.
    pub server: &'a config::Server,
    /// The cloud-init seed.
    pub seed: &'a Path,
    /// The content disk, if there is one yet.
    pub content: Option<&'a Path>,
}

/// What a target's command line is made from.
#[derive(Debug, Clone, Copy)]
pub struct TargetSpec<'a> {
    /// What the host has.
    pub host: &'a Host,
    /// The lab segment.
    pub network: &'a config::Network,
    /// The target.
    pub target: &'a config::Target,
}

/// A command line in the making.
#[derive(Debug)]
pub(crate) struct Line(Vec<String>);

impl Line {
    /// Adds an option and its argument.
    pub(crate) fn opt(&mut self, name: &str, argument: impl Into<String>) -> &mut Self {
        self.0.push(format!("-{name}"));
        self.0.push(argument.into());
        self
    }

    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(format!("-{name}"));
        self
    }
}

/// A path as a value among others: QEMU reads a doubled comma as a comma.
pub(crate) fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The id of the block device that carries the content disk.
pub const CONTENT_DEVICE: &str = "content-disk";
/// The SCSI controller that the content disk hangs on.
pub const SCSI_BUS: &str = "scsi.0";

/// The pair of named pipes, `.in` and `.out`, to the guest's port `lab.wake`.
pub const WAKE: &str = "wake";

/// The server's program and arguments.
pub fn server(spec: &ServerSpec<'_>) -> Vec<String> {
    let ServerSpec {
        host,
        network,
        server,
        seed,
        content,
    } = *spec;
    let mut line = machine(
        host,
        Arch::Aarch64,
        network,
        "server",
        server.cpus,
        server.memory,
    );
    line.opt("uuid", server.uuid.to_string());
    firmware(&mut line, host, Arch::Aarch64);
    line.opt("blockdev", "node-name=disk,driver=qcow2,discard=unmap,detect-zeroes=unmap,file.driver=file,file.filename=disk.qcow2,file.cache.no-flush=on")
        .opt("device", "virtio-blk-pci,drive=disk,bootindex=0,serial=disk")
        .opt("blockdev", raw_read_only("seed", seed))
        .opt("device", "virtio-blk-pci,drive=seed,serial=seed")
        .opt("device", "virtio-scsi-pci,id=scsi");
    if let Some(content) = content {
        line.opt("blockdev", raw_read_only("content", content)).opt(
            "device",
            format!("scsi-hd,id={CONTENT_DEVICE},bus={SCSI_BUS},drive=content,serial=content"),
        );
    }
    net::uplink(&mut line, network);
    line.opt("device", nic("uplink", network.uplink_mac, None));
    net::server_segment(&mut line, host, network);
    line.opt("device", nic("lab", network.server_mac, None));
    // Enough of each packet for every protocol that boots a machine, without
    // keeping the image that passes by.
    line.opt(
        "object",
        "filter-dump,id=capture,netdev=lab,file=lab.pcap,maxlen=600",
    );
    balloon(&mut line);
    line.0
}

/// A target's program and arguments.
pub fn target(spec: &TargetSpec<'_>) -> Vec<String> {
    let TargetSpec {
        host,
        network,
        target,
    } = *spec;
    let mut line = machine(
        host,
        Arch::X86_64,
        network,
        &target.name,
        target.cpus,
        target.memory,
    );
    line.opt("uuid", target.uuid.to_string()).opt(
        "smbios",
        format!(
            "type=1,manufacturer=lab,product=lab-target,serial={}",
            target.serial
        ),
    );
    firmware(&mut line, host, Arch::X86_64);
    // Nobody looks at it, but `lab screen` can ask what it shows. The firmware
    // has its own driver, so no ROM of the card's is needed.
    line.opt("device", "VGA,romfile=");
    // With no IPv6 answer OVMF would wait over 90 s for PXE over IPv6.
    line.opt("fw_cfg", "name=opt/org.tianocore/IPv6Support,string=no")
        .opt("blockdev", "node-name=disk,driver=qcow2,discard=unmap,detect-zeroes=unmap,file.driver=file,file.filename=disk.qcow2,file.cache.no-flush=on")
        .opt("device", "virtio-blk-pci,drive=disk,bootindex=0,serial=disk");
    net::target_segment(&mut line, host, network, &target.name);
    line.opt("device", nic("lab", target.mac, Some(1)));
    if target.boot == BootWay::Http {
        // Of one card the firmware tries PXE first and HTTP next, and QEMU's
        // bootindex is the card's; without PXE, HTTP is first (edk2's
        // NetworkPkg/Library/PxeBcPcdProducerLib).
        line.opt("fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=no");
    }
    balloon(&mut line);
    line.0
}

fn machine(
    host: &Host,
    arch: Arch,
    network: &config::Network,
    name: &str,
    cpus: u32,
    memory: config::Size,
) -> Line {
    let accel = host.accel.get(arch);
    let machine = match (arch, accel.kind) {
        (Arch::X86_64, _) => "q35,smm=off",
        (Arch::Aarch64, AccelKind::Kvm) => "virt,gic-version=host",
        (Arch::Aarch64, AccelKind::Hvf) if cpus <= 8 => "virt,gic-version=2",
        (Arch::Aarch64, AccelKind::Hvf | AccelKind::Tcg) => "virt,gic-version=3",
    };
    let mut line = Line(vec![host.qemu.system(arch).display().to_string()]);
    line.opt("name", format!("lab-{}-{name}", network.lab))
        .opt("machine", format!("{machine},pflash0=code,pflash1=vars"))
        .opt("accel", accel.kind.argument())
        .opt("cpu", &*accel.cpu)
        .opt("smp", format!("cpus={cpus}"))
        .opt("m", format!("size={}M", memory.in_mib()))
        .flag("nodefaults")
        .flag("no-user-config")
        .opt("display", "none")
        .opt("rtc", "base=utc");
    if host.os == Os::Linux {
        line.opt(
            "sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
    }
    line.opt("chardev", "socket,id=qmp,path=qmp.sock,server=on,wait=off")
        .opt("mon", "chardev=qmp,mode=control")
        .opt(
            "chardev",
            "socket,id=serial,path=serial.sock,server=on,wait=off,logfile=serial.log,logappend=on",
        )
        .opt("serial", "chardev:serial")
        // By which a guest that goes on from saved memory is told so. Pipes, since
        // a guest waits for one without end, and turns round for a socket that
        // nobody is connected to.
        .opt("chardev", format!("pipe,id=wake,path={WAKE}"))
        .opt("device", "virtio-serial-pci")
        .opt("device", "virtserialport,chardev=wake,name=lab.wake")
        // Without it recent edk2 offers no network boot, and guests wait for entropy.
        .opt("device", "virtio-rng-pci");
    line
}

/// By which the guest tells what pages it does not use, for the host to take
/// back: what it once used is then not written when its memory is saved. The
/// last device, so that all others keep the places after which installed
/// systems name them.
fn balloon(line: &mut Line) {
    line.opt("device", "virtio-balloon-pci,free-page-reporting=on");
}

fn firmware(line: &mut Line, host: &Host, arch: Arch) {
    let code = value(&host.firmware.get(arch).code);
    line.opt(
        "blockdev",
        format!("node-name=code,driver=raw,read-only=on,file.driver=file,file.filename={code}"),
    )
    .opt(
        "blockdev",
        "node-name=vars,driver=raw,file.driver=file,file.filename=vars.fd",
    );
}

fn raw_read_only(node: &str, path: &Path) -> String {
    format!(
        "node-name={node},driver=raw,read-only=on,file.driver=file,file.filename={}",
        value(path)
    )
}

/// A network card without a boot ROM: the firmware's own driver boots.
fn nic(netdev: &str, mac: protocol::Mac, bootindex: Option<u8>) -> String {
    let bootindex = bootindex.map_or(String::new(), |n| format!(",bootindex={n}"));
    format!("virtio-net-pci,netdev={netdev},mac={mac},romfile={bootindex}")
}

/// The line without the sandbox, for a QEMU built without it.
pub fn without_sandbox(argv: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(argv.len());
    let mut words = argv.iter();
    while let Some(word) = words.next() {
        if word == "-sandbox" {
            words.next();
        } else {
            kept.push(word.clone());
        }
    }
    kept
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
