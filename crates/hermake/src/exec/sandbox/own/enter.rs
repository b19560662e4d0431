//! Into the namespaces: a copy of this process sets the sandbox up, then stays as its first process (`init`).
//!
//! The copy has one thread of many, so locks of others may be held for ever: it makes system calls and nothing else,
//! on what was made ready before it.
#![allow(
    unsafe_code,
    reason = "clone with namespaces, and what may be done in a copy of one thread of many"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::AtomicI32;

use rustix::process::{Pid, PidfdFlags, getegid, geteuid, getpid, pidfd_open};

use super::cage::{Cage, Step};
use super::init;
use crate::exec::prelude::{Child, Strings, clone_quietly, default_signals, list};
use crate::exec::sandbox::layout::{OWN, ROOT};

/// Room for the copy's few calls.
const STACK: usize = 64 << 10;
/// Where the copy has its end of the note's pipe.
pub(super) const NOTE: c_int = 3;
/// What the machine is called inside.
const HOSTNAME: &CStr = c"hermake";

/// What can fail beside a cage's steps; numbers below zero stand for these.
const CALLS: [&str; 10] = [
    "dying with hermake",
    "passing on its output",
    "leaving the terminal",
    "mapping users",
    "setting the host's name",
    "bringing up the loopback interface",
    "entering the prepared root",
    "leaving the machine's root",
    "dropping capabilities",
    "hiding hermake's memory",
];

/// What number `at` of a note stands for.
pub(super) fn told(cage: &Cage, at: i32) -> String {
    match usize::try_from(at) {
        Ok(number) => cage.step(number),
        Err(_) => CALLS
            .get(usize::try_from(-(at + 1)).unwrap_or(usize::MAX))
            .copied()
            .unwrap_or("a call")
            .to_owned(),
    }
}

/// All that the copy needs, made before it is.
pub(super) struct Plan<'a> {
    /// The program as seen inside, and its arguments.
    pub program: CString,
    /// Ends in null, like the next two.
    pub argv: Vec<*const c_char>,
    /// For scripts without `#!`, as `execvp` does.
    pub shell: Vec<*const c_char>,
    /// The environment.
    pub env: Vec<*const c_char>,
    /// For the task's start.
    pub stack: Vec<u128>,
    /// Why the task could not be started.
    pub error: AtomicI32,
    fds: [c_int; 4],
    parent: c_int,
    users: CString,
    groups: CString,
    cage: &'a Cage,
}

/// Starts `child` in `cage`: gives the sandbox's first process, which ends when the task does and takes all others
/// with it, and the pipe from which its `Note` is read. It ends with the thread that calls this, however that ends.
pub fn start(child: &Child<'_>, cage: &Cage) -> io::Result<(Pid, PipeReader)> {
    let Strings { argv, env } = Strings::of(child)?;
    let first = argv.first().ok_or(io::ErrorKind::InvalidInput)?;
    let program = if first.as_bytes().contains(&b'/') {
        first.clone()
    } else {
        CString::new([OWN.as_bytes(), b"/bin/", first.as_bytes()].concat())?
    };
    let mut shell = vec![c"/bin/sh".as_ptr(), program.as_ptr()];
    shell.extend(list(argv.get(1..).unwrap_or_default()));
    let null = File::open("/dev/null")?;
    let (note, note_end) = io::pipe()?;
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let map = |id: u32| CString::new(format!("{id} {id} 1"));
    let plan = Plan {
        argv: list(&argv),
        shell,
        env: list(&env),
        stack: vec![0; STACK / 16],
        error: AtomicI32::new(0),
        fds: [
            null.as_raw_fd(),
            child.out.as_raw_fd(),
            child.err.as_raw_fd(),
            note_end.as_raw_fd(),
        ],
        parent: own.as_raw_fd(),
        users: map(geteuid().as_raw())?,
        groups: map(getegid().as_raw())?,
        program,
        cage,
    };
    Ok((cloned(&plan)?, note))
}

fn cloned(plan: &Plan<'_>) -> io::Result<Pid> {
    let mut flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::SIGCHLD;
    if !plan.cage.network {
        flags |= libc::CLONE_NEWNET;
    }
    let arg = ptr::from_ref(plan).cast_mut().cast();
    // SAFETY: without CLONE_VM the child has a copy of all memory, `plan` included; it makes only the system calls
    // in `run`
    unsafe { clone_quietly(run, flags, arg) }
}

extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: the caller's plan, of which this process has a copy; the rest are system calls on what is in it
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        match set_up(plan) {
            Ok(()) => init::stay(plan),
            Err(at) => init::tell(b's', *libc::__errno_location(), at, &[]),
        }
        libc::_exit(125)
    }
}

/// An error if the call failed: `at` says which it was, `errno` why.
fn ok(result: c_int, at: i32) -> Result<(), i32> {
    if result < 0 { Err(at) } else { Ok(()) }
}

/// All that comes before the task, in this order: what needs `/proc` of the machine, the mounts, what gives up rights.
unsafe fn set_up(plan: &Plan<'_>) -> Result<(), i32> {
    // SAFETY: system calls on valid arguments
    unsafe {
        default_signals();
        ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), -1)?;
        let mut parent = libc::pollfd {
            fd: plan.parent,
            events: libc::POLLIN,
            revents: 0,
        };
        if libc::poll(&raw mut parent, 1, 0) != 0 {
            // it died before the call: nobody waits for this process
            return Err(-1);
        }
        for (fd, to) in plan.fds.into_iter().zip(0..) {
            ok(libc::dup2(fd, to), -2)?;
        }
        // nothing of hermake's stays open, and the task gets no more than the first three
        ok(libc::fcntl(NOTE, libc::F_SETFD, libc::FD_CLOEXEC), -2)?;
        let rest = libc::c_uint::try_from(NOTE + 1).unwrap_or(4);
        ok(close_from(rest), -2)?;
        // without a terminal nothing can be typed into it
        ok(libc::setsid(), -3)?;
        put(c"/proc/self/setgroups", c"deny")?;
        put(c"/proc/self/uid_map", &plan.users)?;
        put(c"/proc/self/gid_map", &plan.groups)?;
        // this process has hermake's memory: from here on only who has rights on the machine may look into it
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0), -10)?;
        ok(
            libc::sethostname(HOSTNAME.as_ptr(), HOSTNAME.count_bytes()),
            -5,
        )?;
        if !plan.cage.network {
            ok(loopback(), -6)?;
        }
        mounts(plan.cage)?;
        libc::umask(0o022);
        ok(drop_rights(), -9)
    }
}

unsafe fn close_from(first: libc::c_uint) -> c_int {
    // SAFETY: a system call
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0 as c_int) };
    c_int::try_from(done).unwrap_or(-1)
}

unsafe fn put(path: &CStr, what: &CStr) -> Result<(), i32> {
    // SAFETY: system calls on strings that end in null
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        ok(fd, -4)?;
        let wrote = libc::write(fd, what.as_ptr().cast(), what.count_bytes());
        ok(if wrote < 0 { -1 } else { 0 }, -4)?;
        libc::close(fd);
        Ok(())
    }
}

unsafe fn loopback() -> c_int {
    // SAFETY: a struct of integers, and system calls on it
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return -1;
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed() as c_char;
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        // not by `ioctl`, whose second argument has another type in every C library
        let done = libc::syscall(
            libc::SYS_ioctl,
            socket,
            libc::SIOCSIFFLAGS,
            &raw const request,
        );
        libc::close(socket);
        c_int::try_from(done).unwrap_or(-1)
    }
}

/// As the kernel has it.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;
const NO_SET_ID: u64 = 2;
const NO_DEVICES: u64 = 4;
const BELOW: c_int = 0x8000;

unsafe fn mounts(cage: &Cage) -> Result<(), i32> {
    // SAFETY: system calls on strings that end in null
    unsafe {
        let none = ptr::null();
        let root = cage.root.as_ptr();
        let bind = libc::MS_BIND | libc::MS_REC;
        ok(libc::mount(root, root, none, bind, none.cast()), -7)?;
        ok(libc::chdir(root), -7)?;
        for (step, at) in cage.steps.iter().zip(0..) {
            let done = match step {
                Step::Bind { from, at } => {
                    libc::mount(from.as_ptr(), at.as_ptr(), none, bind, none.cast())
                }
                Step::Limit {
                    at,
                    below,
                    read_only,
                } => limit(at, *below, *read_only),
                Step::Fresh {
                    kind,
                    at,
                    options,
                    programs,
                } => {
                    let devices = if *kind == c"devpts" {
                        0
                    } else {
                        libc::MS_NODEV
                    };
                    let programs = if *programs { 0 } else { libc::MS_NOEXEC };
                    let flags = libc::MS_NOSUID | devices | programs;
                    let (kind, at) = (kind.as_ptr(), at.as_ptr());
                    libc::mount(kind, at, kind, flags, options.as_ptr().cast())
                }
                Step::Folder(at) => {
                    libc::mkdir(at.as_ptr(), 0o700) | libc::chmod(at.as_ptr(), 0o1777)
                }
                Step::File(at) => libc::mknod(at.as_ptr(), libc::S_IFREG | 0o644, 0),
                Step::Link(at, target) => libc::symlink(target.as_ptr(), at.as_ptr()),
            };
            ok(done, at)?;
        }
        // the machine's root comes to lie over the new one, and goes
        let here = c".".as_ptr();
        let turned = libc::syscall(libc::SYS_pivot_root, here, here);
        ok(c_int::try_from(turned).unwrap_or(-1), -8)?;
        ok(libc::umount2(here, libc::MNT_DETACH), -8)?;
        ok(libc::chdir(c"/".as_ptr()), -8)?;
        ok(libc::chdir(BUILD.as_ptr()), -8)
    }
}

/// `ROOT` for a system call.
const BUILD: &CStr = c"/build";
const _: () = assert!(ROOT.len() == BUILD.count_bytes());

unsafe fn limit(at: &CStr, below: bool, read_only: bool) -> c_int {
    let attr = MountAttr {
        set: NO_SET_ID | NO_DEVICES | if read_only { READ_ONLY } else { 0 },
        clear: 0,
        // nothing that is mounted later outside comes in
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    // SAFETY: a system call on a struct of the size it is told
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            if below { BELOW } else { 0 },
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    c_int::try_from(done).unwrap_or(-1)
}

/// As the kernel has them.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

/// Takes all capabilities, also those that root would get back by starting a program.
unsafe fn drop_rights() -> c_int {
    // SAFETY: system calls on structs of the size of the version they name
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return -1;
        }
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 {
                // there are no more; if this one is there it could not be dropped
                if libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) >= 0 {
                    return -1;
                }
                break;
            }
        }
        let header = CapHeader {
            version: 0x2008_0522,
            pid: 0,
        };
        let none = [0u32; 6];
        let set = libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr());
        c_int::try_from(set).unwrap_or(-1)
    }
}
