//! The first process of a sandbox: starts the task, waits for it, and tells if it left something running. When it
//! ends, the kernel ends all others.
#![allow(
    unsafe_code,
    reason = "what may be done in a copy of one thread of many: system calls, nothing else"
)]

use std::ffi::{CStr, c_int, c_void};
use std::io::Read as _;
use std::ptr;
use std::sync::atomic::Ordering;

use super::Cage;
use super::enter::{NOTE, Plan, told};
use crate::exec::prelude::exec;

/// Names of what was left running take no more room than this.
const NAMES: usize = 512;

/// What the first process has to say that an exit status can't.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// All is said by its status.
    Nothing,
    /// The sandbox could not be made.
    NotMade(String),
    /// The task could not be started.
    NotStarted(i32),
    /// The task left these running.
    Left(String),
    /// The task was ended by this signal.
    Killed(i32),
}

impl Note {
    /// Reads what was written to `pipe`, whose other end is closed; `cage` is what was to be made.
    pub fn read(mut pipe: std::io::PipeReader, cage: &Cage) -> Self {
        let mut bytes = Vec::new();
        // what can't be read says nothing
        let _ = pipe.read_to_end(&mut bytes);
        let number = |at: usize| {
            let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
            i32::from_le_bytes(four.unwrap_or_default())
        };
        match bytes.first() {
            Some(b's') => {
                // the next run tries anew what works here
                let _ = std::fs::remove_file(&cage.tried);
                let why = std::io::Error::from_raw_os_error(number(1));
                Self::NotMade(format!("{}: {why}", told(cage, number(5))))
            }
            Some(b'x') => Self::NotStarted(number(1)),
            Some(b'l') => {
                Self::Left(String::from_utf8_lossy(bytes.get(9..).unwrap_or_default()).into())
            }
            Some(b'k') => Self::Killed(number(1)),
            _ => Self::Nothing,
        }
    }
}

/// Writes a note: its kind, two numbers, and text.
pub(super) unsafe fn tell(kind: u8, one: i32, two: i32, text: &[u8]) {
    let mut note = [0; 9 + NAMES];
    note[0] = kind;
    note[1..5].copy_from_slice(&one.to_le_bytes());
    note[5..9].copy_from_slice(&two.to_le_bytes());
    let length = text.len().min(NAMES);
    note[9..9 + length].copy_from_slice(&text[..length]);
    // SAFETY: a system call on bytes that are there; less than a pipe holds
    unsafe {
        libc::write(NOTE, note.as_ptr().cast(), 9 + length);
    }
}

/// Runs the plan's task and ends as it ended.
pub(super) unsafe fn stay(plan: &mut Plan<'_>) {
    // SAFETY: memory is shared with the task's process until it execs, and this one stands still until then; the
    // rest are system calls on what is there
    unsafe {
        let top = plan.stack.as_mut_ptr().add(plan.stack.len()).cast();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let task = libc::clone(become_task, top, flags, ptr::from_mut(plan).cast());
        let error = if task < 0 {
            *libc::__errno_location()
        } else {
            plan.error.load(Ordering::Relaxed)
        };
        if error != 0 {
            tell(b'x', error, 0, &[]);
            libc::_exit(127);
        }
        let mut status = 0;
        loop {
            // also takes away what others have left and has ended
            let ended = libc::waitpid(-1, &raw mut status, 0);
            if ended == task {
                break;
            }
            if ended < 0 && *libc::__errno_location() != libc::EINTR {
                libc::_exit(125);
            }
        }
        if !libc::WIFEXITED(status) {
            tell(b'k', libc::WTERMSIG(status), 0, &[]);
            libc::_exit(1);
        }
        let code = libc::WEXITSTATUS(status);
        if code == 0 && is_left() {
            let mut names = [0; NAMES];
            let length = names_of_others(&mut names);
            tell(b'l', 0, 0, &names[..length]);
            libc::_exit(1);
        }
        libc::_exit(code);
    }
}

extern "C" fn become_task(plan: *mut c_void) -> c_int {
    // SAFETY: `plan` is that of `stay`, which waits; all pointers in it are to strings and lists that end in null
    unsafe {
        let plan = &*plan.cast::<Plan<'_>>();
        exec(plan.program.as_ptr(), &plan.argv, &plan.shell, &plan.env);
        plan.error
            .store(*libc::__errno_location(), Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// True if something still runs, after what has just ended is taken away.
unsafe fn is_left() -> bool {
    loop {
        // SAFETY: a system call
        match unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } {
            0 => return true,
            ended if ended < 0 => return false,
            _ => {}
        }
    }
}

/// Writes the names of all processes but the first to `names`; gives how long that is.
unsafe fn names_of_others(names: &mut [u8; NAMES]) -> usize {
    let mut length = 0;
    let mut add = |bytes: &[u8]| {
        let room = bytes.len().min(NAMES - length);
        names[length..length + room].copy_from_slice(&bytes[..room]);
        length += room;
    };
    let mut first = true;
    // SAFETY: system calls on buffers of the size they are told; entries are as long as they say
    unsafe {
        let proc = libc::open(c"/proc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
        let mut entries = [0u64; 512];
        loop {
            let read = libc::syscall(
                libc::SYS_getdents64,
                proc,
                entries.as_mut_ptr(),
                size_of_val(&entries),
            );
            let Some(end) = usize::try_from(read).ok().filter(|n| *n > 0) else {
                break;
            };
            let mut at = 0;
            while at < end {
                let entry = entries.as_ptr().cast::<u8>().add(at);
                at += usize::from(entry.add(16).cast::<u16>().read_unaligned());
                let name = CStr::from_ptr(entry.add(19).cast()).to_bytes();
                if name == b"1" || !name.iter().all(u8::is_ascii_digit) || name.len() > 10 {
                    continue;
                }
                let mut path = [0u8; 16];
                path[..name.len()].copy_from_slice(name);
                path[name.len()..name.len() + 5].copy_from_slice(b"/comm");
                let file = libc::openat(proc, path.as_ptr().cast(), libc::O_RDONLY);
                let mut comm = [0u8; 64];
                let got = libc::read(file, comm.as_mut_ptr().cast(), comm.len());
                libc::close(file);
                let got = usize::try_from(got).unwrap_or(0);
                if !first {
                    add(b", ");
                }
                first = false;
                add(comm[..got].trim_ascii_end());
            }
        }
    }
    if first {
        add(b"a process");
    }
    length
}
