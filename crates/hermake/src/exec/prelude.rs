//! System calls that no safe interface offers: starting a child without copying this process, and locks on
//! ranges of a file. The only unsafe code of the crate.
#![allow(
    unsafe_code,
    reason = "a child that shares our memory until exec, OFD locks, and Make's descriptors"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::process::Pid;

/// What a child is.
#[derive(Debug)]
pub struct Child<'a> {
    /// Program (with its path) and arguments.
    pub argv: &'a [OsString],
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
    /// Working directory.
    pub cwd: &'a Path,
    /// Standard output.
    pub out: BorrowedFd<'a>,
    /// Standard error.
    pub err: BorrowedFd<'a>,
}

/// Make's jobserver, if it gave us one: both the pipe and the fifo form; descriptors that aren't pipes are refused.
pub fn jobserver() -> Option<jobserver::Client> {
    // SAFETY: the descriptors named in MAKEFLAGS are ours by Make's protocol, and nothing else in this process
    // uses them; `true` makes the crate check that they are pipes before it does
    unsafe { jobserver::Client::from_env_ext(true) }.client.ok()
}

#[cfg(target_os = "linux")]
pub use linux::{Strings, clone_quietly, default_signals, exec, list, lock_byte, start};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{CString, c_char, c_int, c_void};
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::ptr;
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::{Child, OsString, Pid, io};

    /// Room for a child's few calls before exec.
    const STACK: usize = 64 << 10;

    /// All that the child needs, made before it is: it can't allocate.
    struct Plan {
        argv: Vec<*const c_char>,
        /// For scripts without `#!`, as `execvp` does.
        shell: Vec<*const c_char>,
        env: Vec<*const c_char>,
        cwd: CString,
        fds: [c_int; 3],
        parent: libc::pid_t,
        error: AtomicI32,
    }

    /// Starts `child` in a process group of its own. It ends with the thread that calls this, however that ends,
    /// and has the umask 022.
    ///
    /// Like `posix_spawn`, which can't do these two: memory is shared until exec, so nothing is copied.
    pub fn start(child: &Child<'_>) -> io::Result<Pid> {
        let Strings { argv, env } = Strings::of(child)?;
        let null = File::open("/dev/null")?;
        let mut shell = vec![c"/bin/sh".as_ptr()];
        shell.extend(list(&argv));
        let plan = Plan {
            argv: list(&argv),
            shell,
            env: list(&env),
            cwd: CString::new(child.cwd.to_path_buf().into_os_string().into_vec())?,
            fds: [
                null.as_raw_fd(),
                child.out.as_raw_fd(),
                child.err.as_raw_fd(),
            ],
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            error: AtomicI32::new(0),
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let arg = ptr::from_ref(&plan).cast_mut().cast();
        // SAFETY: with CLONE_VFORK this thread stands still until the child execs or ends, so `plan` outlives its use
        // of it; the child makes only the system calls in `run`
        let pid = unsafe { clone_quietly(run, flags, arg) }?;
        match plan.error.load(Ordering::Relaxed) {
            0 => Ok(pid),
            error => {
                // it has ended: this takes it away
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }

    /// What a child is started with, as the system calls take it.
    pub struct Strings {
        /// Program and arguments.
        pub argv: Vec<CString>,
        /// Names and values.
        pub env: Vec<CString>,
    }

    impl Strings {
        /// Those of `child`; an error if one has a zero byte in it.
        pub fn of(child: &Child<'_>) -> io::Result<Self> {
            let text = |s: &OsString| CString::new(s.as_bytes());
            let pair = |(k, v): &(OsString, OsString)| {
                CString::new([k.as_bytes(), v.as_bytes()].join(&b'='))
            };
            Ok(Self {
                argv: child.argv.iter().map(text).collect::<Result<_, _>>()?,
                env: child.env.iter().map(pair).collect::<Result<_, _>>()?,
            })
        }
    }

    /// Pointers to `strings`, ended by null.
    pub fn list(strings: &[CString]) -> Vec<*const c_char> {
        let end = std::iter::once(ptr::null());
        strings.iter().map(|s| s.as_ptr()).chain(end).collect()
    }

    /// Makes a child that runs `run` on a stack of its own. All signals are blocked in it until it calls [`exec`], so
    /// that no handler of ours can run there.
    ///
    /// # Safety
    ///
    /// `run` makes system calls only, on what `plan` leads to, and doesn't return before it ends. With `CLONE_VM`
    /// there has to be `CLONE_VFORK`.
    pub unsafe fn clone_quietly(
        run: extern "C" fn(*mut c_void) -> c_int,
        flags: c_int,
        plan: *mut c_void,
    ) -> io::Result<Pid> {
        let mut stack = vec![0u128; STACK / 16];
        // SAFETY: the child has a copy of `stack`, or this thread stands still while it uses it; the rest is the
        // caller's promise
        let (pid, error) = unsafe {
            let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
            let top = stack.as_mut_ptr().add(stack.len()).cast::<c_void>();
            let pid = libc::clone(run, top, flags, plan);
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, ptr::null_mut());
            (pid, error)
        };
        if pid < 0 {
            return Err(error);
        }
        Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process id"))
    }

    /// Gives the signals that hermake handles, or has handled, back to the system.
    ///
    /// # Safety
    ///
    /// To be called in a child.
    pub unsafe fn default_signals() {
        for signal in [
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGCHLD,
            libc::SIGPIPE,
        ] {
            // SAFETY: a system call
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }

    /// Becomes `program`, with no signal blocked; by `shell` if it is a script without `#!`. Returns only if that
    /// failed, with `errno` set.
    ///
    /// # Safety
    ///
    /// To be called in a child; all pointers are to strings, and the lists of them end, in null.
    pub unsafe fn exec(
        program: *const c_char,
        argv: &[*const c_char],
        shell: &[*const c_char],
        env: &[*const c_char],
    ) {
        // SAFETY: system calls on what the caller promised
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            libc::execve(program, argv.as_ptr(), env.as_ptr());
            if *libc::__errno_location() == libc::ENOEXEC {
                libc::execve(shell[0], shell.as_ptr(), env.as_ptr());
            }
        }
    }

    extern "C" fn run(plan: *mut c_void) -> c_int {
        // SAFETY: `plan` is the caller's, which waits; all pointers in it are to strings and lists that end in null
        unsafe {
            let plan = &*plan.cast::<Plan>();
            become_child(plan);
            plan.error
                .store(*libc::__errno_location(), Ordering::Relaxed);
            libc::_exit(127)
        }
    }

    /// Returns only if something failed, with `errno` set.
    unsafe fn become_child(plan: &Plan) {
        // SAFETY: system calls that are async-signal-safe, on valid arguments
        unsafe {
            default_signals();
            if libc::setpgid(0, 0) < 0
                || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0
                || libc::chdir(plan.cwd.as_ptr()) < 0
            {
                return;
            }
            if libc::getppid() != plan.parent {
                // the parent died before the call: nobody waits for this child
                *libc::__errno_location() = libc::ESRCH;
                return;
            }
            libc::umask(0o022);
            for (fd, to) in plan.fds.into_iter().zip(0..) {
                if libc::dup2(fd, to) < 0 {
                    return;
                }
            }
            exec(plan.argv[0], &plan.argv, &plan.shell, &plan.env);
        }
    }

    /// Takes the byte at `at` of `file` for this process, or gives it back; false if another process has it.
    /// The kernel gives it back too, when the process ends.
    pub fn lock_byte(file: impl AsFd, at: u64, take: bool) -> io::Result<bool> {
        let kind = if take { libc::F_WRLCK } else { libc::F_UNLCK };
        // SAFETY: a struct of integers
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = libc::c_short::try_from(kind).unwrap_or_default();
        range.l_start = i64::try_from(at >> 2).unwrap_or_default();
        range.l_len = 1;
        // SAFETY: the descriptor is open, and the struct is what this command takes
        let done = unsafe {
            libc::fcntl(
                file.as_fd().as_raw_fd(),
                libc::F_OFD_SETLK,
                &raw const range,
            )
        };
        if done == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            e => Err(e),
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub use other::start;

#[cfg(not(target_os = "linux"))]
mod other {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::{Child, Pid, io};

    /// Starts `child` in a process group of its own, with the umask 022.
    pub fn start(child: &Child<'_>) -> io::Result<Pid> {
        let program = child.argv.first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(&child.argv[1..])
            .current_dir(child.cwd)
            .env_clear()
            .envs(child.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(child.out.try_clone_to_owned()?)
            .stderr(child.err.try_clone_to_owned()?)
            .process_group(0);
        // SAFETY: umask is an async-signal-safe system call; nothing is allocated
        unsafe {
            command.pre_exec(|| {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
                Ok(())
            });
        }
        Ok(Pid::from_child(&command.spawn()?))
    }
}
