//! By the guest's port `lab.wake`: a line `ID SECONDS SEED`, answered by the id
//! (cloud-init/target/lab-wake.sh.tera is the other end).

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use crate::state::VmPaths;

/// How long a guest may take that listens: it has just begun to run again.
const LIMIT: Duration = Duration::from_secs(5);

/// Tells the guest, and waits until it has done it.
pub(super) fn wake(vm: &VmPaths) -> anyhow::Result<()> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
    // QEMU has both ends open, so neither call waits, and the writing one fails
    // if it hasn't
    let mut to = fs_err::OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(vm.wake_in())?;
    let mut from = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(vm.wake_out())?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let line = format!("{id} {:.3} {}\n", super::now()?, super::seed());
    to.write_all(line.as_bytes())?;
    let deadline = Instant::now() + LIMIT;
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match from.read(&mut buffer) {
            // at most a few answers that nobody waited for come before ours
            Ok(read) if said.len() < 64 << 10 => said.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return Err(error.into());
            }
            _ => {}
        }
        if String::from_utf8_lossy(&said)
            .lines()
            .any(|line| line.trim() == id)
        {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the guest's lab-wake does not answer"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::state::LabPaths;

    const SCRIPT: &str = include_str!("../../../../cloud-init/target/lab-wake.sh.tera");

    fn with_pipes(dir: &std::path::Path) -> VmPaths {
        let vm = LabPaths::new(dir, "lab").unwrap().vm("target1");
        fs_err::create_dir_all(vm.dir()).unwrap();
        let made = Command::new("mkfifo")
            .args([vm.wake_in(), vm.wake_out()])
            .status();
        assert!(made.unwrap().success());
        vm
    }

    /// The guest's own script at the other end of the pipes, with a `date` that
    /// only notes what it is told.
    #[test]
    fn the_guests_script_takes_the_line_and_answers() {
        let dir = tempfile::tempdir().unwrap();
        let vm = with_pipes(dir.path());
        let (random, dates) = (vm.dir().join("random"), vm.dir().join("dates"));
        let script = SCRIPT
            .replace("3<>/dev/virtio-ports/lab.wake", "3<>wake.in 4<>wake.out")
            .replace("&3", "&4")
            .replace("/dev/urandom", &random.display().to_string())
            .replace(" >/dev/null", "")
            .replace("date -u -s", &format!("echo >>{}", dates.display()));
        let mut guest = Command::new("bash")
            .args(["-c", &script])
            .current_dir(vm.dir())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // until both pipes are open at the other end
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut woken = wake(&vm);
        while woken.is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            woken = wake(&vm);
        }
        // what is not a time, or one that has been, is answered and not taken
        let mut pipe = fs_err::OpenOptions::new()
            .write(true)
            .open(vm.wake_in())
            .unwrap();
        pipe.write_all(b"$(touch x) 1 2\nid 12.5 s\nid later s\n")
            .unwrap();
        let again = wake(&vm);
        guest.kill().unwrap();
        guest.wait().unwrap();
        woken.unwrap();
        again.unwrap();
        let dates = fs_err::read_to_string(dates).unwrap();
        assert_eq!(dates.lines().count(), 2, "{dates}");
        assert!(
            dates
                .lines()
                .all(|line| line.starts_with('@') && line.contains('.'))
        );
        assert!(fs_err::read_to_string(random).unwrap().len() >= 64);
        assert!(!vm.dir().join("x").exists());
    }

    #[test]
    fn nobody_at_the_other_end_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let vm = with_pipes(dir.path());
        let start = Instant::now();
        assert!(wake(&vm).is_err());
        assert!(start.elapsed() < LIMIT);
    }
}
