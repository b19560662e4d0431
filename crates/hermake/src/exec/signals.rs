//! Ctrl-C and the like: noted, and acted on where something waits.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
static WAKE: OnceLock<UnixStream> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP are noted instead of ending the process.
pub fn install() -> Result<()> {
    let flag = RECEIVED.get_or_init(Arc::default);
    for (signal, value) in [(SIGINT, 2), (SIGTERM, 15), (SIGHUP, 1)] {
        signal_hook::flag::register_usize(signal, Arc::clone(flag), value)
            .context("installing a signal handler")?;
    }
    Ok(())
}

/// The signal that was received, if any.
pub fn received() -> Option<i32> {
    let value = RECEIVED.get()?.load(Ordering::Relaxed);
    i32::try_from(value).ok().filter(|v| *v != 0)
}

/// True once a signal asked us to stop.
pub fn interrupted() -> bool {
    received().is_some()
}

/// Readable once a signal asked us to stop; for whoever waits in `poll`.
pub fn wake() -> Result<&'static UnixStream> {
    if let Some(read) = WAKE.get() {
        return Ok(read);
    }
    let what = "preparing to wait for a child";
    let (read, write) = UnixStream::pair().context(what)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let end = write.try_clone().context(what)?;
        signal_hook::low_level::pipe::register(signal, end).context(what)?;
    }
    // of two threads that come here at once both are registered, and one is used
    Ok(WAKE.get_or_init(|| read))
}
