//! The points on a machine's way from power-on to ready: what each is called,
//! and how long the next may take.

use std::time::Duration;

use protocol::Stage;

/// A point that a machine has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
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
pub(crate) struct About {
    /// For programs.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// How long the machine may stand here, in seconds; emulated and on a busy
    /// host it is slow, so these are some five times what was measured.
    limit: u64,
}

impl About {
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

const fn about(id: &'static str, title: &'static str, limit: u64) -> About {
    About { id, title, limit }
}

/// What is known of each point, in their order. What is usually wrong at each
/// is in `diagnose/causes.toml`.
const ABOUT: &[(Point, About)] = &[
    (Point::PowerOn, about("power-on", "powered on", 120)),
    (Point::Firmware, about("firmware", "firmware runs", 120)),
    (
        Point::NetworkBoot,
        about("network-boot", "firmware asks for network boot", 180),
    ),
    (Point::Loader, about("loader", "boot program loaded", 120)),
    (Point::Ipxe, about("ipxe", "iPXE runs", 180)),
    (Point::Script, about("script", "boot script served", 300)),
    (Point::Kernel, about("kernel", "kernel starts", 600)),
    (Point::Installer, about("installer", "installer runs", 180)),
    (Point::Plan, about("plan", "plan served", 300)),
    (
        Point::Streaming,
        about("streaming", "image streams to the disk", 300),
    ),
    (Point::Verified, about("verified", "image verified", 300)),
    (Point::Seeded, about("seeded", "seed planted", 180)),
    (
        Point::Rebooting,
        about("rebooting", "restarts from its disk", 300),
    ),
    (
        Point::BootLoader,
        about("boot-loader", "boot loader runs", 600),
    ),
    (
        Point::CloudInit,
        about("cloud-init", "cloud-init runs", 1200),
    ),
    (
        Point::Booted,
        about("booted", "installed system is up", 2400),
    ),
    (Point::Login, about("login", "asks for login", 2400)),
    (Point::Ready, about("ready", "ready", u64::MAX >> 32)),
];

/// A console that has said nothing for so long is silent.
pub(crate) const QUIET: Duration = Duration::from_secs(60);

impl Point {
    pub(crate) fn about(self) -> About {
        let known = ABOUT.iter().find(|(point, _)| *point == self);
        known.map_or(about("somewhere", "somewhere", 600), |(_, about)| *about)
    }

    /// All points, in their order.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        ABOUT.iter().map(|(point, _)| *point)
    }

    /// The point that is called so.
    #[cfg(test)]
    pub(crate) fn named(id: &str) -> Option<Self> {
        ABOUT
            .iter()
            .find(|(_, about)| about.id == id)
            .map(|(point, _)| *point)
    }

    /// Whether a machine that came here so long ago, and whose console has been
    /// silent for so long, stands still.
    pub(crate) fn stands_still(self, waited: Duration, silent: Duration) -> bool {
        let limit = self.about().limit();
        // On a busy host everything takes longer; a console that talks shows
        // that it goes on. But one that repeats itself for ever goes nowhere.
        let talks = silent < QUIET && waited < 3 * limit;
        waited >= limit && !talks
    }

    /// The point that a stage of bootd's stands for.
    pub(crate) fn of(stage: Stage) -> Option<Self> {
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
        for point in points {
            assert_eq!(Point::named(point.about().id), Some(point));
        }
    }
}
