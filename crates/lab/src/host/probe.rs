//! Finds everything out, and everything that is missing at once: nobody
//! wants to learn of missing packages one by one.

use std::fmt;
use std::path::{Path, PathBuf};

use super::accel::{self, Machine, Proven};
use super::builds;
use super::distribution::{self, Decision};
use super::firmware;
use super::model::{AccelKind, Arch, Backend, Firmware, Host, Network, PerArch, Qemu};
use super::platform::{Need, Platform};
use super::qemu;
use super::wishes::Wishes;

/// A line of the table that is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What was looked for.
    pub(crate) what: String,
    /// What was found.
    pub(crate) found: String,
    /// How that was decided.
    pub(crate) how: String,
}

/// The host, and how it was found out.
#[derive(Debug)]
pub(crate) struct Probed {
    /// What goes into the file.
    pub(crate) host: Host,
    /// What goes onto the screen.
    pub(crate) rows: Vec<Row>,
}

/// All that is missing, a paragraph each.
#[derive(Debug)]
pub(crate) struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine lacks something that the lab needs:")?;
        for item in &self.0 {
            write!(f, "\n  - {item}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

/// What the probe has to know.
pub(crate) struct Probe<'a> {
    /// The operating system.
    pub(crate) platform: &'a dyn Platform,
    /// The processor.
    pub(crate) arch: Arch,
    /// What the user decided.
    pub(crate) wishes: &'a Wishes,
    /// The address that answers if Ubuntu's image server can be reached.
    pub(crate) ubuntu: &'a str,
    /// Asks an address.
    pub(crate) reach: &'a (dyn Fn(&str) -> Result<(), String> + Sync),
}

impl Probe<'_> {
    /// Finds everything out.
    pub(crate) fn run(&self) -> anyhow::Result<Probed> {
        let mut missing = Vec::new();
        let mut rows = vec![Row {
            what: "host".to_owned(),
            found: format!("{} {}", os_name(self.platform), self.arch),
            how: "this program's own".to_owned(),
        }];
        let qemu = keep(self.qemu(&mut rows), &mut missing);
        let backend = keep(self.backend(&mut rows), &mut missing);

        // These take seconds (they boot firmware, run compilers, ask the
        // network), and none needs another's answer.
        let (machines, builds, decision) = std::thread::scope(|scope| {
            let machines = qemu
                .as_ref()
                .map(|qemu| Arch::ALL.map(|guest| scope.spawn(move || self.machine(qemu, guest))));
            let builds = Arch::ALL
                .map(|guest| scope.spawn(move || builds::find(self.platform, self.arch, guest)));
            let decision =
                distribution::decide(self.platform, self.wishes, self.ubuntu, self.reach);
            (
                machines.map(|all| all.map(joined)),
                builds.map(joined),
                decision,
            )
        });

        let machines = machines.map(|[a, b]| (keep(a, &mut missing), keep(b, &mut missing)));
        let [aarch64, x86_64] = builds;
        let builds = (
            keep(self.build(Arch::Aarch64, aarch64), &mut missing),
            keep(self.build(Arch::X86_64, x86_64), &mut missing),
        );
        let decision = keep(decision.map_err(|why| vec![why]), &mut missing);

        let (
            Some(qemu),
            Some(backend),
            Some((Some(arm), Some(x86))),
            (Some(build_arm), Some(build_x86)),
            Some(decision),
        ) = (qemu, backend, machines, builds, decision)
        else {
            return Err(Missing(missing).into());
        };
        rows.extend([
            arm.firmware_row,
            x86.firmware_row,
            arm.accel_row,
            x86.accel_row,
        ]);
        rows.extend([build_arm.1, build_x86.1]);
        rows.extend(decision_rows(&decision));
        Ok(Probed {
            host: Host {
                os: self.platform.os(),
                arch: self.arch,
                distribution: decision.distribution,
                qemu,
                firmware: PerArch {
                    aarch64: arm.firmware,
                    x86_64: x86.firmware,
                },
                accel: PerArch {
                    aarch64: arm.proven.accel,
                    x86_64: x86.proven.accel,
                },
                network: Network { backend },
                debian: decision.debian,
                build: PerArch {
                    aarch64: build_arm.0,
                    x86_64: build_x86.0,
                },
            },
            rows,
        })
    }

    fn qemu(&self, rows: &mut Vec<Row>) -> Result<Qemu, Vec<String>> {
        let mut missing = Vec::new();
        let mut program = |name: &str, need: Need| {
            let path = self.platform.program(name);
            if path.is_none() {
                missing.push(format!(
                    "{name}: looked in {}; {}",
                    list(&self.platform.program_dirs()),
                    self.platform.remedy(need)
                ));
            }
            path
        };
        let aarch64 = program("qemu-system-aarch64", Need::QemuSystem(Arch::Aarch64));
        let x86_64 = program("qemu-system-x86_64", Need::QemuSystem(Arch::X86_64));
        let img = program("qemu-img", Need::QemuImg);
        let (Some(aarch64), Some(x86_64), Some(img)) = (aarch64, x86_64, img) else {
            return Err(missing);
        };
        let read = |path: &Path| qemu::version(path).map_err(|error| vec![format!("{error:#}")]);
        let (version, numbers) = read(&aarch64)?;
        let (other, other_numbers) = read(&x86_64)?;
        let oldest = numbers.min(other_numbers);
        if oldest < qemu::OLDEST {
            let (major, minor) = qemu::OLDEST;
            return Err(vec![format!(
                "QEMU {major}.{minor} or later: {} is {version} and {} is {other}",
                aarch64.display(),
                x86_64.display()
            )]);
        }
        let folder = aarch64.parent().unwrap_or(Path::new("")).display();
        rows.push(Row {
            what: "QEMU".to_owned(),
            found: version.clone(),
            how: format!("found in {folder}"),
        });
        Ok(Qemu {
            version,
            aarch64,
            x86_64,
            img,
            features: qemu::features(oldest),
        })
    }

    fn backend(&self, rows: &mut Vec<Row>) -> Result<Backend, Vec<String>> {
        let here = self.platform.backends();
        let (backend, how) = match self.wishes.backend {
            Some((wish, from)) if !here.contains(&wish) => {
                return Err(vec![format!(
                    "{from} asks for the backend {wish:?}, which {} does not have; it has {here:?}",
                    os_name(self.platform)
                )]);
            }
            Some((wish, from)) => (wish, from),
            None => (here[0], "auto: needs no root"),
        };
        rows.push(Row {
            what: "network".to_owned(),
            found: format!("{backend:?}").to_lowercase(),
            how: how.to_owned(),
        });
        Ok(backend)
    }

    /// Firmware for `guest`, booted.
    fn machine(&self, qemu: &Qemu, guest: Arch) -> Result<BootedMachine, Vec<String>> {
        let program = qemu.system(guest);
        let dirs = self.platform.descriptor_dirs(program);
        let known = self.platform.known_firmware(guest, program);
        let Some(found) = firmware::find(&dirs, &known, guest) else {
            let known: Vec<_> = known.into_iter().map(|pair| pair.code).collect();
            return Err(vec![format!(
                "UEFI firmware for {guest}: no descriptor in {} names files that are there, and \
                 there is none of {}; {}",
                list(&dirs),
                list(&known),
                self.platform.remedy(Need::Firmware(guest))
            )]);
        };
        let candidates = match self.wishes.accel {
            // A wish for hardware can only mean the guests that it can run.
            Some(wish) => {
                let mut all = self.platform.accelerators(self.arch, guest);
                if all.contains(&wish) {
                    all.retain(|kind| *kind == wish);
                } else {
                    all.retain(|kind| *kind == AccelKind::Tcg);
                }
                all
            }
            None => self.platform.accelerators(self.arch, guest),
        };
        let machine = Machine {
            arch: guest,
            qemu: program,
            firmware: &found.firmware,
        };
        let proven = accel::choose(machine, &candidates, accel::usual_limit).map_err(|failed| {
            let tried: Vec<String> = failed.iter().map(|f| format!("{}: {}", f.0, f.1)).collect();
            vec![format!(
                "an accelerator that boots {} for {guest}; tried {}",
                found.firmware.code.display(),
                tried.join("; ")
            )]
        })?;
        Ok(BootedMachine {
            firmware_row: Row {
                what: format!("firmware {guest}"),
                found: found.firmware.code.display().to_string(),
                how: found.descriptor.map_or_else(
                    || "a known place".to_owned(),
                    |path| format!("told by {}", path.display()),
                ),
            },
            accel_row: accel_row(guest, &proven, self.wishes.accel),
            firmware: found.firmware,
            proven,
        })
    }

    fn build(
        &self,
        guest: Arch,
        found: Result<builds::Found, Vec<String>>,
    ) -> Result<(super::model::Build, Row), Vec<String>> {
        match found {
            Ok(found) => {
                let row = Row {
                    what: format!("builds for {guest}"),
                    found: found.build.target.clone(),
                    how: format!("{} with {}", found.how, found.build.rustc.display()),
                };
                Ok((found.build, row))
            }
            Err(tried) => Err(vec![format!(
                "a Rust compiler for {guest} guests ({}); {}",
                tried.join("; "),
                self.platform.remedy(Need::Compiler(guest))
            )]),
        }
    }
}

struct BootedMachine {
    firmware: Firmware,
    proven: Proven,
    firmware_row: Row,
    accel_row: Row,
}

fn accel_row(guest: Arch, proven: &Proven, wish: Option<AccelKind>) -> Row {
    let mut how = format!("firmware spoke after {:.1} s", proven.after.as_secs_f64());
    for failure in &proven.failed {
        how = format!("{how}; {} failed: {}", failure.0, failure.1);
    }
    if wish == Some(proven.accel.kind) {
        how.push_str("; LAB_ACCEL");
    }
    Row {
        what: format!("runs {guest}"),
        found: format!("{} ({})", proven.accel.kind, proven.accel.cpu),
        how,
    }
}

fn decision_rows(decision: &Decision) -> Vec<Row> {
    let mut rows = vec![Row {
        what: "distribution".to_owned(),
        found: format!("{:?}", decision.distribution).to_lowercase(),
        how: decision.how.clone(),
    }];
    if let Some(debian) = &decision.debian {
        rows.push(Row {
            what: "Debian mirror".to_owned(),
            found: debian.mirror.clone(),
            how: decision.debian_how.to_owned(),
        });
    }
    rows
}

/// The value, or `None` with the reasons put with the others.
fn keep<T>(result: Result<T, Vec<String>>, missing: &mut Vec<String>) -> Option<T> {
    result.map_err(|why| missing.extend(why)).ok()
}

/// The thread's result; its panic goes on here.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn os_name(platform: &dyn Platform) -> String {
    format!("{:?}", platform.os()).to_lowercase()
}

fn list(paths: &[PathBuf]) -> String {
    let all: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    all.join(", ")
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
