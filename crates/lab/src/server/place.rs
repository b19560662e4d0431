//! The places on the server's way up: what each is called, and how long its
//! console may be silent there.

use std::time::Duration;

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// For programs, and in the table of causes.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// How long its console may say nothing here, in seconds; emulated and on a
    /// busy host a silence of a minute is nothing.
    limit: u64,
}

impl Place {
    /// Whether a server whose console has been silent for so long stands still.
    pub(super) fn stands_still(self, silent: Duration) -> bool {
        silent >= Duration::from_secs(self.limit)
    }
}

const fn place(id: &'static str, title: &'static str, limit: u64) -> Place {
    Place { id, title, limit }
}

pub(super) const POWER_ON: Place = place("server-power-on", "server: powered on", 120);
pub(super) const FIRMWARE: Place = place("server-firmware", "server: firmware runs", 180);
pub(super) const BOOT_LOADER: Place = place("server-boot-loader", "server: boot loader runs", 300);
pub(super) const KERNEL: Place = place("server-kernel", "server: kernel starts", 300);
pub(super) const CLOUD_INIT: Place = place("server-cloud-init", "server: cloud-init runs", 420);
pub(super) const PACKAGES: Place = place("server-packages", "server: installs packages", 420);
pub(super) const SET_UP: Place = place("server-set-up", "server: is set up", 420);
pub(super) const SERVICES: Place = place("server-services", "server: services are checked", 600);

/// All of them, in the order of a boot.
#[cfg(test)]
pub(crate) const PLACES: &[Place] = &[
    POWER_ON,
    FIRMWARE,
    BOOT_LOADER,
    KERNEL,
    CLOUD_INIT,
    PACKAGES,
    SET_UP,
    SERVICES,
];
