//! The host's own port of the lab segment.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::fsutil;
use crate::state::{LabPaths, VmPaths};
use crate::switch;
use crate::vm::qmp::{Qmp, QmpError};
use crate::vm::{self, State, hub_port};

/// A name that no target can have: host names have no underscore.
const NAME: &str = "lab_probe";

/// How long QEMU may take to answer, another command that talks to it included.
const QMP: Duration = Duration::from_secs(10);

/// How long it may take to listen.
const LISTEN: Duration = Duration::from_secs(5);

/// A port of the segment's switch, which is there while it is connected.
pub(super) fn switch(lab: &LabPaths) -> anyhow::Result<UnixStream> {
    let server = running(lab)?;
    vm::connect(&server.dir().join(switch::SOCKET))
        .context("the lab segment's switch does not answer; `make down up` starts it anew")
}

/// The server's files, if it runs.
fn running(lab: &LabPaths) -> anyhow::Result<VmPaths> {
    let server = lab.vm("server");
    anyhow::ensure!(
        matches!(State::of(&server)?, State::Running(_)),
        "the services can't be asked: the server does not run; `make up` starts it"
    );
    Ok(server)
}

/// A port that is there until it is closed or dropped. One at a time: whoever
/// comes second waits.
#[derive(Debug)]
pub(super) struct Port {
    server: VmPaths,
    stream: Option<UnixStream>,
    open: bool,
    _lock: fs_err::File,
}

impl Port {
    /// Plugs the host into the segment.
    pub(super) fn open(lab: &LabPaths) -> anyhow::Result<Self> {
        let server = running(lab)?;
        let path = server.dir().join("probe.lock");
        let lock = fsutil::open_lock(&path)?;
        flock(&lock, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        let mut this = Self {
            server,
            stream: None,
            open: true,
            _lock: lock,
        };
        let mut qmp = Qmp::connect(&this.server.qmp(), QMP)?;
        // of a probe that was killed
        unplug(&mut qmp)?;
        let _ = std::fs::remove_file(this.socket());
        for netdev in hub_port(NAME) {
            qmp.execute("netdev_add", netdev)
                .context("the host can't be plugged into the lab segment")?;
        }
        this.stream = Some(
            connect(&this.socket()).context("the host can't be plugged into the lab segment")?,
        );
        Ok(this)
    }

    /// The stream of frames, once.
    pub(super) fn stream(&mut self) -> anyhow::Result<UnixStream> {
        self.stream.take().context("the port's stream was taken")
    }

    /// Unplugs the host.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.unplug()
    }

    fn unplug(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let mut qmp = Qmp::connect(&self.server.qmp(), QMP)?;
        unplug(&mut qmp).context("the host can't be unplugged from the lab segment")?;
        let _ = std::fs::remove_file(self.socket());
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.server.dir().join(format!("{NAME}.sock"))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // whatever went wrong before is what is said
        let _ = self.unplug();
    }
}

/// QEMU begins to listen in its own time, after it has answered.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + LISTEN;
    loop {
        match vm::connect(socket) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

/// The hub's port first: a hub must not be left with a port to nowhere.
fn unplug(qmp: &mut Qmp) -> anyhow::Result<()> {
    for netdev in hub_port(NAME).iter().rev() {
        match qmp.execute("netdev_del", json!({ "id": netdev["id"] })) {
            Ok(_) => {}
            Err(QmpError::Refused { description, .. }) if description.contains("not found") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
