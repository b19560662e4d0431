//! `lab-installer`: runs in the target's initramfs, started by `lab-init`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-installer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn start() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => installer::linux::run(),
        Some("--power-off") => installer::linux::power_off(),
        Some(other) => anyhow::bail!("{other}? It takes no argument, or --power-off"),
    }
}

#[cfg(not(target_os = "linux"))]
fn start() -> anyhow::Result<()> {
    anyhow::bail!("this runs in the initramfs of a Linux machine")
}
