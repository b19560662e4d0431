//! One child process: its output line by line, its end, its timeout, its leftovers.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::signals::{self, Wake};
use super::stray;

/// How long a child may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long its output may stay open after its end.
const LINGER: Duration = Duration::from_millis(200);
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

/// Runs `spec`, handing each line to `line`.
pub fn run(spec: &Spec, line: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
    let program = spec.argv.first().context("an empty command")?;
    let mut command = Command::new(program);
    command
        .args(&spec.argv[1..])
        .current_dir(&spec.cwd)
        .env_clear()
        .envs(spec.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    super::prelude::prepare(&mut command);
    if !spec.daemons {
        stray::adopt();
    }
    let wake = Wake::new()?;
    let child = command
        .spawn()
        .with_context(|| format!("starting `{}`", program.to_string_lossy()))?;
    Running::new(child, wake).wait(spec, line)
}

struct Pipe {
    file: Option<File>,
    stream: Stream,
    pending: Vec<u8>,
}

struct Running {
    child: Child,
    group: Pid,
    pipes: [Pipe; 2],
    wake: Wake,
}

impl Running {
    fn new(mut child: Child, wake: Wake) -> Self {
        let group = Pid::from_child(&child);
        let pipe = |fd: Option<OwnedFd>, stream| Pipe {
            file: fd.map(File::from),
            stream,
            pending: Vec::new(),
        };
        let out = pipe(child.stdout.take().map(OwnedFd::from), Stream::Out);
        let err = pipe(child.stderr.take().map(OwnedFd::from), Stream::Err);
        Self {
            child,
            group,
            pipes: [out, err],
            wake,
        }
    }

    fn wait(mut self, spec: &Spec, line: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
        let started = Instant::now();
        let mut stopping: Option<(End, Instant)> = None;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("waiting for a child")? {
                break status;
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
            let mut nap = Duration::from_secs(1);
            if let (Some(timeout), None) = (spec.timeout, &stopping) {
                nap = nap.min(timeout.saturating_sub(now - started) + Duration::from_millis(1));
            }
            self.poll(nap, line)?;
        };
        self.finish(spec, status, stopping.map(|s| s.0), line)
    }

    fn finish(
        mut self,
        spec: &Spec,
        status: ExitStatus,
        stopped: Option<End>,
        line: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<End> {
        let mut left = String::new();
        if !spec.daemons {
            if test_kill_process_group(self.group).is_ok() {
                left = stray::names_of_group(self.group);
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
            self.poll(Duration::from_millis(10), line)?;
        }
        for pipe in &mut self.pipes {
            pipe.flush(line);
        }
        if let Some(why) = stopped {
            return Ok(why);
        }
        Ok(match (status.code(), status.signal()) {
            (Some(0), _) if !left.is_empty() => End::LeftBehind(left),
            (Some(code), _) => End::Code(code),
            (None, signal) => End::Killed(signal.unwrap_or(0)),
        })
    }

    fn signal(&self, signal: Signal) {
        // gone already: nothing to end
        let _ = kill_process_group(self.group, signal);
    }

    fn poll(&mut self, nap: Duration, line: &mut dyn FnMut(Stream, &[u8])) -> Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(nap.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(nap.subsec_nanos()),
        };
        let mut ready = [false; 2];
        {
            let mut fds = vec![PollFd::new(&self.wake.read, PollFlags::IN)];
            let mut which = Vec::new();
            for (i, pipe) in self.pipes.iter().enumerate() {
                if let Some(file) = &pipe.file {
                    fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
                    which.push(i);
                }
            }
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("waiting for a child"),
            }
            for (slot, i) in which.into_iter().enumerate() {
                ready[i] = !fds[slot + 1].revents().is_empty();
            }
        }
        self.wake.drain();
        for (pipe, ready) in self.pipes.iter_mut().zip(ready) {
            if ready {
                pipe.read(line);
            }
        }
        Ok(())
    }
}

impl Pipe {
    fn read(&mut self, line: &mut dyn FnMut(Stream, &[u8])) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = [0; 16 << 10];
        match file.read(&mut bytes) {
            Ok(0) => self.file = None,
            Ok(n) => {
                self.pending.extend_from_slice(&bytes[..n]);
                self.lines(line);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.file = None,
        }
    }

    fn lines(&mut self, line: &mut dyn FnMut(Stream, &[u8])) {
        let mut from = 0;
        while let Some(end) = self.pending[from..].iter().position(|b| *b == b'\n') {
            line(self.stream, &self.pending[from..from + end]);
            from += end + 1;
        }
        self.pending.drain(..from);
        if self.pending.len() > LONGEST_LINE {
            self.flush(line);
        }
    }

    fn flush(&mut self, line: &mut dyn FnMut(Stream, &[u8])) {
        if !self.pending.is_empty() {
            line(self.stream, &self.pending);
            self.pending.clear();
        }
    }
}
