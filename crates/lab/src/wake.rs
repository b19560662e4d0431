//! What a guest must be told after it went on from saved memory: what time it
//! is, and new randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::ssh;
use crate::state::LabPaths;

/// `ioctl(2)` on /dev/urandom: use what was just written at once
/// (`RNDRESEEDCRNG`, random(4)).
const RESEED: &str = "0x5207";

/// Sets the clock of `vm` and mixes new randomness into its kernel's; then
/// runs `check`, and returns what that prints.
pub(crate) fn wake(lab: &LabPaths, vm: &str, check: &str) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("this host's clock is before 1970")?;
    let script = script(now.as_secs_f64(), check);
    let seed = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
    ssh::on_with(lab, vm, &script, &seed.concat())
        .with_context(|| format!("{vm} goes on from saved memory, but can't be set right"))
}

fn script(now: f64, check: &str) -> String {
    format!(
        "sudo sh -c 'date -u -s @{now:.3} >/dev/null; \
         perl -e \"open R, q(>), q(/dev/urandom) or die; read STDIN, \\$b, 32; syswrite R, \\$b; ioctl R, {RESEED}, 0\"' \
         && {{ {check}; }}"
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
        let script = script(1_790_000_000.25, "echo checked")
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
        shell.stdin.take().unwrap().write_all(&[7; 32]).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "checked\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
