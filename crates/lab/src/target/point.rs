//! The points on a machine's way from power-on to ready: what each is called,
//! how long the next may take, and what is usually wrong if it doesn't come.

use std::time::Duration;

use protocol::Stage;

/// A point that a machine has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    /// QEMU runs.
    PowerOn,
    /// The firmware tries boot entries.
    Firmware,
    /// The firmware asks for an address.
    NetworkBoot,
    /// The firmware has its boot program.
    Loader,
    /// iPXE runs.
    Ipxe,
    /// iPXE was given its script.
    Script,
    /// A kernel starts.
    Kernel,
    /// The installer runs.
    Installer,
    /// The installer was given its plan.
    Plan,
    /// The image is on its way.
    Streaming,
    /// The image is on the disk.
    Verified,
    /// The seed is on the disk.
    Seeded,
    /// The installer restarts the machine.
    Rebooting,
    /// The installed system's boot loader runs.
    BootLoader,
    /// cloud-init runs in the installed system.
    CloudInit,
    /// The installed system has reached the server.
    Booted,
    /// The console asks who logs in.
    Login,
    /// cloud-init has finished.
    Ready,
}

/// What is known of a point.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// For people.
    pub(super) title: &'static str,
    /// How long the machine may stand here, in seconds; emulated and on a busy
    /// host it is slow, so these are some five times what was measured.
    limit: u64,
    /// What is usually wrong if it stays here.
    pub(super) cause: &'static str,
    /// Where to look.
    pub(super) look: &'static str,
}

impl About {
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

const fn about(title: &'static str, limit: u64, cause: &'static str, look: &'static str) -> About {
    About {
        title,
        limit,
        cause,
        look,
    }
}

/// What is known of each point, in their order.
const ABOUT: &[(Point, About)] = &[
    (
        Point::PowerOn,
        about(
            "powered on",
            120,
            "the firmware printed nothing: its files don't fit this QEMU, or the accelerator doesn't work",
            "qemu.log; `make configure` probes both",
        ),
    ),
    (
        Point::Firmware,
        about(
            "firmware runs",
            120,
            "the firmware found no network card to boot from, or its own disk neither boots nor fails",
            "the console (serial.log)",
        ),
    ),
    (
        Point::NetworkBoot,
        about(
            "firmware asks for network boot",
            180,
            "no DHCP offer, or one without a file name for this architecture: the DHCP server doesn't run, or the target isn't plugged into the server's hub",
            "lab.pcap of the server; `lab ssh server journalctl -u isc-dhcp-server`",
        ),
    ),
    (
        Point::Loader,
        about(
            "boot program loaded",
            120,
            "the boot program doesn't start: the file is for another architecture",
            "the console (serial.log); /srv/tftp on the server",
        ),
    ),
    (
        Point::Ipxe,
        about(
            "iPXE runs",
            180,
            "iPXE got no address or no script: bootd or nginx doesn't answer, or a template is wrong",
            "the console (serial.log); `lab ssh server journalctl -u bootd`",
        ),
    ),
    (
        Point::Script,
        about(
            "boot script served",
            300,
            "kernel or initrd could not be fetched: the content disk isn't mounted, or the machine has too little memory for the initrd",
            "the console (serial.log); /srv/content on the server",
        ),
    ),
    (
        Point::Kernel,
        about(
            "kernel starts",
            600,
            "the kernel found no network card or no installer, or the machine has too little memory for the initrd",
            "the console (serial.log)",
        ),
    ),
    (
        Point::Installer,
        about(
            "installer runs",
            180,
            "the installer got no address, or no plan from bootd",
            "the console (serial.log); `lab ssh server journalctl -u bootd`",
        ),
    ),
    (
        Point::Plan,
        about(
            "plan served",
            300,
            "the image could not be opened, or there is no disk that is large enough",
            "the console (serial.log); nginx's log on the server",
        ),
    ),
    (
        Point::Streaming,
        about(
            "image streams to the disk",
            300,
            "the image stopped coming: the server is gone or its content disk was taken away",
            "the console (serial.log); nginx's log on the server",
        ),
    ),
    (
        Point::Verified,
        about(
            "image verified",
            300,
            "the seed could not be planted: no root file system was found on the image",
            "the console (serial.log)",
        ),
    ),
    (
        Point::Seeded,
        about(
            "seed planted",
            180,
            "the disk could not be made bootable",
            "the console (serial.log)",
        ),
    ),
    (
        Point::Rebooting,
        about(
            "restarts from its disk",
            300,
            "the disk doesn't boot: no boot loader was found on it",
            "the console (serial.log)",
        ),
    ),
    (
        Point::BootLoader,
        about(
            "boot loader runs",
            600,
            "the boot loader found no kernel, or the kernel no root file system",
            "the console (serial.log)",
        ),
    ),
    (
        Point::CloudInit,
        about(
            "cloud-init runs",
            1200,
            "cloud-init waits for the network, or its user-data is wrong",
            "the console (serial.log); `lab console`",
        ),
    ),
    (
        Point::Booted,
        about(
            "installed system is up",
            2400,
            "cloud-init still works, hangs in a package's installation, or its report did not arrive",
            "`lab ssh TARGET cloud-init status --long`",
        ),
    ),
    (
        Point::Login,
        about(
            "asks for login",
            2400,
            "cloud-init still works, hangs in a package's installation, or its report did not arrive",
            "`lab ssh TARGET cloud-init status --long`",
        ),
    ),
    (Point::Ready, about("ready", u64::MAX >> 32, "", "")),
];

impl Point {
    pub(super) fn about(self) -> About {
        let known = ABOUT.iter().find(|(point, _)| *point == self);
        known.map_or(about("somewhere", 600, "", ""), |(_, about)| *about)
    }

    /// The point that a stage of bootd's stands for.
    pub(super) fn of(stage: Stage) -> Option<Self> {
        Some(match stage {
            Stage::Script => Self::Script,
            Stage::Plan => Self::Plan,
            Stage::Streaming => Self::Streaming,
            Stage::Verified => Self::Verified,
            Stage::Seeded => Self::Seeded,
            Stage::Rebooting => Self::Rebooting,
            Stage::Booted => Self::Booted,
            Stage::Ready => Self::Ready,
            Stage::Failed | Stage::Refused | Stage::Template | Stage::Reprovision => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_described_once_in_order() {
        let points: Vec<Point> = ABOUT.iter().map(|(point, _)| *point).collect();
        assert!(points.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(points.len(), Point::Ready as usize + 1);
        for (point, about) in ABOUT.iter().filter(|(point, _)| *point != Point::Ready) {
            assert!(
                !about.cause.is_empty() && !about.look.is_empty(),
                "{point:?}"
            );
        }
    }
}
