//! Running the other architecture's programs while its packages are
//! configured: Linux's `binfmt_misc` with `qemu-user`.

use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;

use super::Arch;

const MOUNT_POINT: &str = "/proc/sys/fs/binfmt_misc";
/// Where the package qemu-user-static keeps the line to register.
const HANDLER: &str = "/usr/lib/binfmt.d/qemu-aarch64.conf";

/// Makes sure that programs of `arch` run here. Changes the host only where
/// that is needed, and then as root only: the mount and the registration that
/// systemd does at boot (containers have neither).
pub(super) fn ensure(arch: Arch, root: bool) -> anyhow::Result<()> {
    let native = std::env::consts::ARCH
        == match arch {
            Arch::Aarch64 => "aarch64",
            Arch::X86_64 => "x86_64",
        };
    if native || registered(arch) {
        return Ok(());
    }
    anyhow::ensure!(
        root,
        "programs of {} don't run here: {} is not registered. As root: systemctl restart systemd-binfmt",
        arch.debian(),
        handler_name(arch),
    );
    let mount_point = Path::new(MOUNT_POINT);
    if !mount_point.join("register").exists() {
        let status = std::process::Command::new("mount")
            .args(["-t", "binfmt_misc", "binfmt_misc", MOUNT_POINT])
            .status()
            .context("starting mount")?;
        anyhow::ensure!(status.success(), "mounting {MOUNT_POINT} failed ({status})");
    }
    if registered(arch) {
        return Ok(());
    }
    let handler = HANDLER.replace("qemu-aarch64", handler_name(arch));
    let line = fs::read_to_string(&handler).context("install the package qemu-user-static")?;
    fs::write(mount_point.join("register"), line.trim_end())
        .with_context(|| format!("registering {handler}"))
}

fn handler_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Aarch64 => "qemu-aarch64",
        Arch::X86_64 => "qemu-x86_64",
    }
}

fn registered(arch: Arch) -> bool {
    fs::read_to_string(Path::new(MOUNT_POINT).join(handler_name(arch)))
        .is_ok_and(|state| state.starts_with("enabled"))
}
