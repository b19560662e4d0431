//! A task's `/dev`: few devices, terminals and shared memory of its own.

use std::path::Path;

use super::cage::{Cage, Step, inside};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Adds it to `cage`.
pub(super) fn mount(cage: &mut Cage) -> std::io::Result<()> {
    cage.steps.extend([
        Step::Fresh {
            kind: c"tmpfs",
            at: c"dev",
            options: c"mode=755",
            programs: true,
        },
        Step::Folder(c"dev/shm"),
        Step::Folder(c"dev/pts"),
        Step::Link(c"dev/fd", c"/proc/self/fd"),
        Step::Link(c"dev/stdin", c"/proc/self/fd/0"),
        Step::Link(c"dev/stdout", c"/proc/self/fd/1"),
        Step::Link(c"dev/stderr", c"/proc/self/fd/2"),
        Step::Link(c"dev/core", c"/proc/kcore"),
        Step::Link(c"dev/ptmx", c"pts/ptmx"),
        Step::Fresh {
            kind: c"devpts",
            at: c"dev/pts",
            options: c"newinstance,ptmxmode=0666,mode=620",
            programs: false,
        },
    ]);
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        cage.steps.push(Step::File(inside(&device)?));
        cage.bind(&device, &device)?;
    }
    Ok(())
}
