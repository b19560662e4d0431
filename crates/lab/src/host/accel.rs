//! Which accelerator really runs a guest. `/dev/kvm` may open, answer and
//! make a virtual machine, and still not run firmware: so firmware is booted
//! until the first byte that it writes to its serial port.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::model::{Accel, AccelKind, Arch, Firmware};

/// What is booted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    /// The guest's architecture.
    pub(crate) arch: Arch,
    /// The QEMU that runs it.
    pub(crate) qemu: &'a Path,
    /// Its firmware.
    pub(crate) firmware: &'a Firmware,
}

/// An accelerator that booted the firmware.
#[derive(Debug)]
pub(crate) struct Proven {
    /// The accelerator and the processor model.
    pub(crate) accel: Accel,
    /// From QEMU's start to the first byte.
    pub(crate) after: Duration,
    /// The better ones that failed, and how.
    pub(crate) failed: Vec<Failure>,
}

/// An accelerator that did not boot the firmware, and what happened instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) AccelKind, pub(crate) String);

/// The first of `candidates` that boots `machine`'s firmware.
pub(crate) fn choose(
    machine: Machine<'_>,
    candidates: &[AccelKind],
    limit: impl Fn(AccelKind) -> Duration,
) -> Result<Proven, Vec<Failure>> {
    let mut failed = Vec::new();
    for kind in candidates {
        match first_byte(machine, *kind, limit(*kind)) {
            Ok(after) => {
                let cpu = cpu(*kind, machine.arch).to_owned();
                return Ok(Proven {
                    accel: Accel { kind: *kind, cpu },
                    after,
                    failed,
                });
            }
            Err(why) => failed.push(Failure(*kind, why)),
        }
    }
    Err(failed)
}

/// How long firmware may take. Hardware needs a fraction of a second;
/// emulation has no alternative, so that it may be slow on a busy machine.
pub(crate) fn usual_limit(kind: AccelKind) -> Duration {
    match kind {
        AccelKind::Kvm | AccelKind::Hvf => Duration::from_secs(8),
        AccelKind::Tcg => Duration::from_secs(90),
    }
}

/// The processor model: emulated, the one that costs least. (Emulating
/// `max` on Arm spends its time on pointer authentication.)
fn cpu(kind: AccelKind, arch: Arch) -> &'static str {
    match (kind, arch) {
        (AccelKind::Tcg, Arch::Aarch64) => "cortex-a72",
        (AccelKind::Tcg, Arch::X86_64) => "max",
        (AccelKind::Kvm | AccelKind::Hvf, _) => "host",
    }
}

fn argv(machine: Machine<'_>, kind: AccelKind) -> Vec<String> {
    // Commas in a file's name are doubled in QEMU's options.
    let file = |path: &PathBuf| path.display().to_string().replace(',', ",,");
    let board = match machine.arch {
        Arch::Aarch64 => "virt",
        Arch::X86_64 => "q35",
    };
    let code = file(&machine.firmware.code);
    let vars = file(&machine.firmware.vars);
    [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
        "-m",
        "256",
        "-machine",
        board,
        "-accel",
        kind.argument(),
        "-cpu",
        cpu(kind, machine.arch),
        "-drive",
        &format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        "-drive",
        &format!("if=pflash,unit=1,format=raw,snapshot=on,file={vars}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

enum Said {
    FirstByte,
    Complaint(String),
    /// Standard output ended: QEMU is gone.
    End,
}

fn first_byte(machine: Machine<'_>, kind: AccelKind, limit: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    let child = Command::new(machine.qemu)
        .args(argv(machine, kind))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} did not start: {error}", machine.qemu.display()))?;
    let mut guard = Ended(child);
    let (Some(mut stdout), Some(stderr)) = (guard.0.stdout.take(), guard.0.stderr.take()) else {
        return Err("its output could not be read".to_owned());
    };
    let (send, said) = mpsc::channel();
    let complaints = send.clone();
    std::thread::spawn(move || {
        let mut byte = [0];
        let read = stdout.read(&mut byte);
        let _ = send.send(if matches!(read, Ok(1)) {
            Said::FirstByte
        } else {
            Said::End
        });
    });
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if complaints.send(Said::Complaint(line)).is_err() {
                return;
            }
        }
    });
    let mut complaint = None;
    let mut ended = false;
    let because = |complaint: Option<String>, otherwise: &str| {
        complaint.unwrap_or_else(|| otherwise.to_owned())
    };
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match said.recv_timeout(left) {
            Ok(Said::FirstByte) => return Ok(start.elapsed()),
            Ok(Said::Complaint(line)) => {
                // KVM's own failure leaves QEMU there, with the guest stopped.
                let fatal = line.contains("internal error");
                complaint.get_or_insert(line);
                if fatal {
                    return Err(because(complaint, ""));
                }
            }
            // Its last words may still be under way: the channel closes after them.
            Ok(Said::End) => ended = true,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(because(complaint, "QEMU ended without a word"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) if ended => {
                return Err(because(complaint, "QEMU closed its output"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let otherwise = format!("firmware wrote nothing in {} s", limit.as_secs());
                return Err(because(complaint, &otherwise));
            }
        }
    }
}

/// A child process that does not outlive this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        firmware: Firmware,
    }

    impl Fixture {
        /// A QEMU that behaves as the shell script `body` says.
        fn new(body: &str) -> Self {
            use std::os::unix::fs::PermissionsExt as _;
            let dir = tempfile::tempdir().unwrap();
            let qemu = dir.path().join("qemu");
            fs_err::write(&qemu, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs_err::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
            Self {
                dir,
                firmware: Firmware {
                    code: "/f/code,v1.fd".into(),
                    vars: "/f/vars.fd".into(),
                },
            }
        }

        fn choose(&self, arch: Arch) -> Result<Proven, Vec<Failure>> {
            let qemu = self.dir.path().join("qemu");
            let machine = Machine {
                arch,
                qemu: &qemu,
                firmware: &self.firmware,
            };
            choose(machine, &[AccelKind::Kvm, AccelKind::Tcg], |kind| {
                Duration::from_secs(if kind == AccelKind::Kvm { 1 } else { 30 })
            })
        }
    }

    #[test]
    fn the_best_one_that_writes_a_byte_is_taken() {
        let proven = Fixture::new("printf U; exec sleep 60")
            .choose(Arch::X86_64)
            .unwrap();
        assert_eq!(proven.accel.kind, AccelKind::Kvm);
        assert_eq!(proven.accel.cpu, "host");
        assert!(proven.failed.is_empty());
    }

    #[test]
    fn silence_an_error_of_kvms_and_an_early_end_each_lead_to_emulation() {
        for (kvm, why) in [
            ("exec sleep 60", "firmware wrote nothing in 1 s"),
            (
                "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60",
                "KVM internal error. Suberror: 1",
            ),
            (
                "echo 'Could not access KVM kernel module' >&2; exit 1",
                "Could not access KVM kernel module",
            ),
            ("exit 0", "QEMU ended without a word"),
        ] {
            let body =
                format!("case \"$*\" in *'-accel kvm'*) {kvm};; *) printf U; exec sleep 60;; esac");
            let proven = Fixture::new(&body).choose(Arch::Aarch64).unwrap();
            assert_eq!(proven.accel.kind, AccelKind::Tcg, "{kvm}");
            assert_eq!(proven.accel.cpu, "cortex-a72");
            let failure = Failure(AccelKind::Kvm, why.to_owned());
            assert_eq!(proven.failed, [failure], "{kvm}");
        }
    }

    #[test]
    fn when_none_works_each_says_why() {
        let failed = Fixture::new("echo \"no $8\" >&2; exit 1")
            .choose(Arch::X86_64)
            .unwrap_err();
        assert_eq!(failed.len(), 2);
        assert!(failed.iter().all(|f| f.1 == "no stdio"), "{failed:?}");
    }

    #[test]
    fn the_command_line_is_a_bare_machine_with_that_firmware() {
        let fixture = Fixture::new("");
        let machine = Machine {
            arch: Arch::Aarch64,
            qemu: Path::new("qemu"),
            firmware: &fixture.firmware,
        };
        insta::assert_snapshot!(argv(machine, AccelKind::Tcg).join("\n"));
    }
}
