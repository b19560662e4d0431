//! What a child does between fork and exec. The only unsafe code of the crate.
#![allow(
    unsafe_code,
    reason = "Command::pre_exec is unsafe: its closure runs in a forked child"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal, umask};

/// Makes the child end with this process, however that ends, and gives it the umask 022.
pub fn prepare(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: prctl, getppid and umask are async-signal-safe system calls; nothing is allocated
    unsafe {
        command.pre_exec(move || {
            #[cfg(target_os = "linux")]
            {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                if getppid() != Some(parent) {
                    // the parent died before the call: nobody waits for this child
                    return Err(std::io::Error::from(rustix::io::Errno::SRCH));
                }
            }
            #[cfg(not(target_os = "linux"))]
            let _ = parent;
            umask(rustix::fs::Mode::from_raw_mode(0o022));
            Ok(())
        });
    }
}

/// Make's jobserver, if it gave us one: both the pipe and the fifo form; descriptors that aren't pipes are refused.
pub fn jobserver() -> Option<jobserver::Client> {
    // SAFETY: the descriptors named in MAKEFLAGS are ours by Make's protocol, and nothing else in this process
    // uses them; `true` makes the crate check that they are pipes before it does
    unsafe { jobserver::Client::from_env_ext(true) }.client.ok()
}
