//! The switch as a process of its own: it lives from the first VM's start to
//! `lab down`, so that the server may be started anew under running targets.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::forward::Switch;
use crate::fsutil;
use crate::state::VmPaths;
use crate::vm;
use crate::vm::process::Identity;

/// The socket's name in the server's folder.
pub const SOCKET: &str = "switch.sock";
const RECORD: &str = "switch.json";

/// How long it may take to start, and to end.
const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(3);

/// Options of `lab switch`, which others start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder for its socket and its record; it runs there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Seconds that it waits for its first client, or for one to come back.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
}

/// Is the switch, until nobody has been plugged in for a while.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (socket, record) = (args.dir.join(SOCKET), args.dir.join(RECORD));
    let pid = i32::try_from(std::process::id()).context("this process's number")?;
    let identity = Identity::of(pid).context("this process can't be seen")?;
    // before anyone can be plugged in: whoever is can then find the process
    fsutil::write_atomically(&record, &serde_json::to_vec(&identity)?, 0o644)?;
    fsutil::remove_if_there(&socket)?;
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    listener.set_nonblocking(true)?;
    let ours = inode(&socket);
    let idle = Duration::from_secs(args.idle);
    let mut switch = Switch::default();
    let mut used = Instant::now();
    // another in its place, or none: nobody finds this one any more
    while inode(&socket) == ours {
        switch.turn(Some(&listener), Duration::from_secs(1).min(idle))?;
        if switch.is_empty() && used.elapsed() >= idle {
            // nobody finds it running, from here until it is gone
            let _lock = lock(&args.dir)?;
            switch.turn(Some(&listener), Duration::ZERO)?;
            if switch.is_empty() {
                fsutil::remove_if_there(&socket)?;
                fsutil::remove_if_there(&record)?;
                return Ok(());
            }
        }
        if !switch.is_empty() {
            used = Instant::now();
        }
    }
    Ok(())
}

/// Makes the lab's switch run. `server` is the server's folder, in which it is.
pub fn ensure(server: &VmPaths) -> anyhow::Result<()> {
    fs_err::create_dir_all(server.dir())?;
    let _lock = lock(server.dir())?;
    let socket = server.dir().join(SOCKET);
    // knocking also keeps it from ending for want of company
    if process(server).is_some() && vm::connect(&socket).is_ok() {
        return Ok(());
    }
    end(server)?;
    let log = server.dir().join("switch.log");
    let mut child = start(server.dir(), &log)?;
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!(
                "the lab segment's switch ended at once ({status}): {}",
                vm::last_lines(&log, 3)
            );
        }
        // its record is written before its socket is there
        if process(server).is_some() && vm::connect(&socket).is_ok() {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the lab segment's switch does not answer; see {}",
            log.display()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn start(dir: &Path, log: &Path) -> anyhow::Result<Child> {
    let output = fs_err::File::create(log)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .arg("switch")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(output.file().try_clone()?)
        .stderr(output.into_parts().0);
    vm::spawn_detached(&mut command).context("cannot start the switch")
}

/// Held while it is started, and while it ends by itself.
fn lock(dir: &Path) -> anyhow::Result<fs_err::File> {
    let lock = fs_err::File::create(dir.join("switch.lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the switch")?;
    Ok(lock)
}

/// Ends the lab's switch. True if it ran.
pub fn end(server: &VmPaths) -> anyhow::Result<bool> {
    let Some(process) = process(server) else {
        fsutil::remove_if_there(server.dir().join(SOCKET))?;
        fsutil::remove_if_there(server.dir().join(RECORD))?;
        return Ok(false);
    };
    for signal in [Signal::TERM, Signal::KILL] {
        process.signal(signal)?;
        let deadline = Instant::now() + END;
        while process.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    anyhow::ensure!(
        !process.is_alive(),
        "the lab segment's switch (pid {}) does not end",
        process.pid
    );
    fsutil::remove_if_there(server.dir().join(SOCKET))?;
    fsutil::remove_if_there(server.dir().join(RECORD))?;
    Ok(true)
}

/// The running switch.
pub fn process(server: &VmPaths) -> Option<Identity> {
    let text = std::fs::read(server.dir().join(RECORD)).ok()?;
    let process: Identity = serde_json::from_slice(&text).ok()?;
    process.is_alive().then_some(process)
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
