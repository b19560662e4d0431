//! Ctrl-C and the like: noted, and acted on where something waits.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

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

/// Becomes readable whenever a child ends or a signal comes.
#[derive(Debug)]
pub struct Wake {
    /// Poll this.
    pub read: UnixStream,
    ids: Vec<SigId>,
}

impl Wake {
    /// Registers with the handlers.
    pub fn new() -> Result<Self> {
        let what = "preparing to wait for a child";
        let (read, write) = UnixStream::pair().context(what)?;
        read.set_nonblocking(true).context(what)?;
        let mut ids = Vec::new();
        for signal in [SIGCHLD, SIGINT, SIGTERM, SIGHUP] {
            let end = write.try_clone().context(what)?;
            ids.push(signal_hook::low_level::pipe::register(signal, end).context(what)?);
        }
        Ok(Self { read, ids })
    }

    /// Takes what has been written.
    pub fn drain(&mut self) {
        use std::io::Read as _;
        let mut bytes = [0; 64];
        while self.read.read(&mut bytes).is_ok_and(|n| n > 0) {}
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
