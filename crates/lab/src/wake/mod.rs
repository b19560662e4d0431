//! What a guest must be told after it went on from saved memory: what time it
//! is, and new randomness, so that what it draws is not what another run from
//! the same memory would draw.
//!
//! By the port that its service `lab-wake` listens at; that takes a tenth of a
//! second. A guest without that service is told by ssh, which takes seconds
//! where it is emulated.

mod login;
mod port;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::state::LabPaths;

/// Sets clock and randomness of `vm`, which went on from saved memory.
pub(crate) fn wake(lab: &LabPaths, vm: &str) -> anyhow::Result<()> {
    if port::wake(&lab.vm(vm)).is_ok() {
        return Ok(());
    }
    login::wake(lab, vm)
        .with_context(|| format!("{vm} goes on from saved memory, but can't be set right"))
}

/// Seconds since 1970.
fn now() -> anyhow::Result<f64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since
        .context("this host's clock is before 1970")?
        .as_secs_f64())
}

/// New randomness, as text: 244 bits.
fn seed() -> String {
    [(); 2]
        .map(|()| uuid::Uuid::new_v4().simple().to_string())
        .concat()
}
