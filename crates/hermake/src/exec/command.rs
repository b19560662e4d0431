//! One child process: its output line by line, its end, its timeout, its leftovers.

use std::ffi::OsString;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process_group, waitpid,
};

use super::prelude::{self, Child};
#[cfg(target_os = "linux")]
use super::sandbox;
use super::sandbox::own::Cage;
use super::{signals, stray};

/// How long a child may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long its output may stay open after its end.
const LINGER: Duration = Duration::from_millis(200);
/// How often a child's end is asked for where the system doesn't tell.
const ASKED: Duration = Duration::from_millis(5);
/// Longer lines are cut into several.
const LONGEST_LINE: usize = 64 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What to run.
#[derive(Debug)]
pub struct Spec {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// When to give up.
    pub timeout: Option<Duration>,
    /// What marks its processes (a value in their environment), to find the ones left behind.
    pub mark: Option<String>,
    /// Whether what it starts may go on running after it.
    pub daemons: bool,
    /// The stage in which a sandbox's init may leave a note on how it ended.
    pub note: Option<PathBuf>,
    /// What it is started in.
    pub cage: Option<Cage>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Code(i32),
    /// By a signal that we did not send.
    Killed(i32),
    /// After its timeout.
    TimedOut,
    /// Because we were asked to stop.
    Interrupted,
    /// Well, but it left processes running (named here); they were ended.
    LeftBehind(String),
}

/// How many bytes of the beginning of a line that is too long may be cut off.
type Cut<'a> = &'a dyn Fn(&[u8]) -> usize;

/// All of them.
pub fn whole(line: &[u8]) -> usize {
    line.len()
}

/// Runs `spec`, handing each line to `line`; one that is too long in pieces, as `cut` allows.
pub fn run(spec: &Spec, cut: Cut<'_>, line: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
    let program = spec.argv.first().context("an empty command")?;
    if !spec.daemons {
        stray::adopt();
    }
    let starting = || format!("starting `{}`", program.to_string_lossy());
    let wake = signals::wake()?;
    let (out, out_end) = std::io::pipe().with_context(starting)?;
    let (err, err_end) = std::io::pipe().with_context(starting)?;
    let child = Child {
        argv: &spec.argv,
        env: &spec.env,
        cwd: &spec.cwd,
        out: out_end.as_fd(),
        err: err_end.as_fd(),
    };
    let (child, note) = start(&child, spec.cage.as_ref()).with_context(starting)?;
    drop((out_end, err_end));
    let pipe = |file, stream| Pipe {
        file: Some(file),
        stream,
        pending: Vec::new(),
    };
    let running = Running {
        child,
        ended: ended(child),
        pipes: [pipe(out, Stream::Out), pipe(err, Stream::Err)],
        wake,
        cut,
    };
    let end = running.wait(spec, line)?;
    match (note, &spec.cage) {
        (Some(note), Some(cage)) => explained(end, note, cage).with_context(starting),
        _ => Ok(end),
    }
}

/// Starts it in `cage`, with a pipe for what an exit status can't say.
#[cfg(target_os = "linux")]
fn start(child: &Child<'_>, cage: Option<&Cage>) -> std::io::Result<(Pid, Option<PipeReader>)> {
    match cage {
        Some(cage) => sandbox::own::start(child, cage).map(|(pid, note)| (pid, Some(note))),
        None => Ok((prelude::start(child)?, None)),
    }
}

#[cfg(not(target_os = "linux"))]
fn start(child: &Child<'_>, _: Option<&Cage>) -> std::io::Result<(Pid, Option<PipeReader>)> {
    Ok((prelude::start(child)?, None))
}

/// What `end` really was.
#[cfg(target_os = "linux")]
fn explained(end: End, note: PipeReader, cage: &Cage) -> Result<End> {
    use super::sandbox::own::Note;
    if !matches!(end, End::Code(_)) {
        return Ok(end);
    }
    match Note::read(note, cage) {
        Note::Nothing => Ok(end),
        Note::NotMade(why) => anyhow::bail!("making a sandbox: {why}"),
        Note::NotStarted(error) => Err(std::io::Error::from_raw_os_error(error).into()),
        Note::Left(names) => Ok(End::LeftBehind(names)),
        Note::Killed(signal) => Ok(End::Killed(signal)),
    }
}

#[cfg(not(target_os = "linux"))]
fn explained(end: End, _: PipeReader, _: &Cage) -> Result<End> {
    Ok(end)
}

/// Readable once `child` has ended; without it, its end is asked for now and then.
#[cfg(target_os = "linux")]
fn ended(child: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn ended(_: Pid) -> Option<OwnedFd> {
    None
}

struct Pipe {
    file: Option<PipeReader>,
    stream: Stream,
    pending: Vec<u8>,
}

struct Running<'a> {
    /// Leads a process group of its own.
    child: Pid,
    ended: Option<OwnedFd>,
    pipes: [Pipe; 2],
    wake: &'static UnixStream,
    cut: Cut<'a>,
}

impl Running<'_> {
    fn wait(mut self, spec: &Spec, line: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
        let started = Instant::now();
        let mut stopping: Option<(End, Instant)> = None;
        loop {
            let mut nap = Duration::from_secs(1);
            if self.ended.is_none() {
                nap = ASKED;
            }
            if let (Some(timeout), None) = (spec.timeout, &stopping) {
                let left = timeout.saturating_sub(started.elapsed());
                nap = nap.min(left + Duration::from_millis(1));
            }
            if self.poll(nap, stopping.is_none(), line)? {
                let status = waitpid(Some(self.child), WaitOptions::NOHANG);
                if let Some((_, status)) = status.context("waiting for a child")? {
                    return self.finish(spec, status, stopping.map(|s| s.0), line);
                }
            }
            let now = Instant::now();
            match &stopping {
                None => {
                    let late = spec.timeout.is_some_and(|t| now - started >= t);
                    let why = if signals::interrupted() {
                        Some(End::Interrupted)
                    } else {
                        late.then_some(End::TimedOut)
                    };
                    if let Some(why) = why {
                        self.signal(Signal::TERM);
                        stopping = Some((why, now));
                    }
                }
                Some((_, since)) if now - *since > PATIENCE => self.signal(Signal::KILL),
                Some(_) => {}
            }
        }
    }

    fn finish(
        mut self,
        spec: &Spec,
        status: WaitStatus,
        stopped: Option<End>,
        line: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<End> {
        let mut left = String::new();
        if !spec.daemons {
            if test_kill_process_group(self.child).is_ok() {
                left = stray::names_of_group(self.child);
                self.signal(Signal::KILL);
            }
            if let Some(mark) = &spec.mark {
                let more = stray::end_marked(mark);
                if left.is_empty() {
                    left = more;
                }
            }
        }
        let ended = Instant::now();
        while self.pipes.iter().any(|p| p.file.is_some()) && ended.elapsed() < LINGER {
            self.poll(Duration::from_millis(10), false, line)?;
        }
        for pipe in &mut self.pipes {
            pipe.flush(pipe.pending.len(), line);
        }
        if let Some(why) = stopped {
            return Ok(why);
        }
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) if !left.is_empty() => End::LeftBehind(left),
            (Some(code), _) => End::Code(code),
            (None, signal) => End::Killed(signal.unwrap_or(0)),
        })
    }

    fn signal(&self, signal: Signal) {
        // gone already: nothing to end
        let _ = kill_process_group(self.child, signal);
    }

    /// Waits for something to happen; true if the child may have ended.
    fn poll(
        &mut self,
        nap: Duration,
        signals: bool,
        line: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<bool> {
        let timeout = Timespec {
            tv_sec: i64::try_from(nap.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(nap.subsec_nanos()),
        };
        let mut ready = [false; 2];
        let ended;
        {
            let mut fds = Vec::with_capacity(4);
            for pipe in &self.pipes {
                if let Some(file) = &pipe.file {
                    fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
                }
            }
            let pipes = fds.len();
            let watched = self.ended.as_ref();
            fds.extend(watched.map(|fd| PollFd::new(fd, PollFlags::IN)));
            if signals {
                fds.push(PollFd::new(self.wake, PollFlags::IN));
            }
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("waiting for a child"),
            }
            let mut seen = fds.iter().map(|fd| !fd.revents().is_empty());
            for (pipe, ready) in self.pipes.iter().zip(&mut ready) {
                *ready = pipe.file.is_some() && seen.next().unwrap_or(false);
            }
            ended = watched.is_none() || !fds[pipes].revents().is_empty();
        }
        for (pipe, ready) in self.pipes.iter_mut().zip(ready) {
            if ready {
                pipe.read(self.cut, line);
            }
        }
        Ok(ended)
    }
}

impl Pipe {
    fn read(&mut self, cut: Cut<'_>, line: &mut dyn FnMut(Stream, &[u8])) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = [0; 16 << 10];
        match file.read(&mut bytes) {
            Ok(0) => self.file = None,
            Ok(n) => {
                self.pending.extend_from_slice(&bytes[..n]);
                self.lines(cut, line);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.file = None,
        }
    }

    fn lines(&mut self, cut: Cut<'_>, line: &mut dyn FnMut(Stream, &[u8])) {
        let mut from = 0;
        while let Some(end) = self.pending[from..].iter().position(|b| *b == b'\n') {
            line(self.stream, &self.pending[from..from + end]);
            from += end + 1;
        }
        self.pending.drain(..from);
        if self.pending.len() > LONGEST_LINE {
            self.flush(cut(&self.pending), line);
        }
    }

    /// Hands on the first bytes of a line, so many.
    fn flush(&mut self, bytes: usize, line: &mut dyn FnMut(Stream, &[u8])) {
        if bytes > 0 {
            line(self.stream, &self.pending[..bytes]);
            self.pending.drain(..bytes);
        }
    }
}
