//! By logging in.

use crate::ssh;
use crate::state::LabPaths;

/// `ioctl(2)` on /dev/urandom: use what was just written at once
/// (`RNDRESEEDCRNG`, random(4)).
const RESEED: &str = "0x5207";

/// Tells the guest, and waits until it has done it.
pub(super) fn wake(lab: &LabPaths, vm: &str) -> anyhow::Result<()> {
    let script = script(super::now()?);
    ssh::on_with(lab, vm, &script, super::seed().as_bytes()).map(drop)
}

fn script(now: f64) -> String {
    format!(
        "sudo sh -c 'date -u -s @{now:.3} >/dev/null; \
         perl -e \"open R, q(>), q(/dev/urandom) or die; read STDIN, \\$b, 64; syswrite R, \\$b; ioctl R, {RESEED}, 0\"'"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Its quoting, by a real shell in which `sudo` and `date` do nothing.
    #[test]
    fn the_script_is_one_that_a_shell_runs() {
        let script = script(1_790_000_000.25)
            .replace("sudo ", "")
            .replace("date -u -s", "echo 1>&2")
            .replace("/dev/urandom", "/dev/null");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(&[7; 64]).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
