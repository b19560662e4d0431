//! `lab console`: a VM's serial console.

use std::io::{self, IsTerminal as _, Read, Seek as _, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use self::timed::Timed;
use crate::config::Resolved;
use crate::state::{LabArgs, VmPaths};
use crate::target::Times;
use crate::vm::{self, State};

mod timed;

/// Ctrl-].
const DETACH: u8 = 0x1d;

/// Options of `lab console`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// `server`, or a target's name.
    vm: String,
    /// Only watch: follow the log and send nothing.
    #[arg(long)]
    ro: bool,
    /// Put a time (UTC) before each line; lines that nobody saw arrive have none.
    #[arg(long, requires = "ro")]
    times: bool,
}

/// Attaches until Ctrl-] is typed or the VM stops.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let vm = lab.vm(&args.vm);
    let runs = matches!(State::of(&vm)?, State::Running(_));
    if args.ro {
        if !vm.serial_log().exists() {
            Resolved::new(lab.config()).machine(&args.vm)?;
            anyhow::bail!("{} has never been started", args.vm);
        }
        return follow(&vm, runs, args.times);
    }
    anyhow::ensure!(
        runs,
        "{} does not run; its last console: {}",
        args.vm,
        vm.serial_log().display()
    );
    let stream = vm::connect(&vm.serial())
        .with_context(|| format!("cannot attach to {}", vm.serial().display()))?;
    eprintln!("attached to {}; Ctrl-] detaches", args.vm);
    let raw = Raw::enter()?;
    let end = attach(stream, io::stdin(), io::stdout());
    drop(raw);
    eprintln!("\n{}", end?);
    Ok(())
}

/// Copies both ways until one side ends; says which.
fn attach(
    mut stream: UnixStream,
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
) -> io::Result<&'static str> {
    let (tell, ended) = std::sync::mpsc::channel();
    let mut to_guest = stream.try_clone()?;
    // Not joined: it may wait for a key for ever, and ends with the process.
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let typed = &buffer[..count];
            let until = typed.iter().position(|key| *key == DETACH);
            if to_guest
                .write_all(&typed[..until.unwrap_or(count)])
                .is_err()
                || until.is_some()
            {
                break;
            }
        }
        let _ = tell.send(());
    });
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok("the VM has stopped"),
            Ok(count) => {
                output.write_all(&buffer[..count])?;
                output.flush()?;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                // Only once the guest is silent, so that what was asked for by
                // the last line of a script is still shown.
                if ended.try_recv().is_ok() {
                    return Ok("detached");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Shows the log's end and what is added to it; with times, all of it.
fn follow(vm: &VmPaths, runs: bool, with_times: bool) -> anyhow::Result<()> {
    let log = vm.serial_log();
    let mut file = fs_err::File::open(&log)?;
    let mut noted = Times::open(&log);
    let mut timed = with_times.then(|| Timed::new(0));
    if !with_times {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    }
    let mut output = io::stdout();
    loop {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if !bytes.is_empty() && runs {
            let length = file.stream_position()?;
            noted.note(file.file(), length);
        }
        let written = match &mut timed {
            Some(timed) => output.write_all(timed.take(&log, &bytes).as_bytes()),
            None => output.write_all(&bytes),
        };
        match written.and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if !runs || (bytes.is_empty() && !matches!(State::of(vm)?, State::Running(_))) {
            return Ok(());
        }
        if replaced(&log, &file) {
            file = fs_err::File::open(&log)?;
            timed = with_times.then(|| Timed::new(0));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the path leads to another file now: the VM was started anew.
fn replaced(path: &Path, file: &fs_err::File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(now), Ok(open)) => now.ino() != open.ino(),
        _ => false,
    }
}

/// A terminal in raw mode, as it was again when this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> anyhow::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_the_guest_until_the_one_that_detaches() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        guest.write_all(b"login: ").unwrap();
        let mut shown = Vec::new();
        let end = attach(
            ours,
            io::Cursor::new(b"root\r\x1dnot this".to_vec()),
            &mut shown,
        )
        .unwrap();
        assert_eq!(end, "detached");
        assert_eq!(shown, b"login: ");
        let mut typed = Vec::new();
        guest
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let _ = guest.read_to_end(&mut typed);
        assert_eq!(typed, b"root\r");
    }

    #[test]
    fn a_guest_that_stops_ends_it() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let (stdin, _open) = UnixStream::pair().unwrap();
        guest.write_all(b"bye").unwrap();
        drop(guest);
        let mut shown = Vec::new();
        assert_eq!(
            attach(ours, stdin, &mut shown).unwrap(),
            "the VM has stopped"
        );
        assert_eq!(shown, b"bye");
    }
}
