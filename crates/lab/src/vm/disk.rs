//! A VM's disk and firmware variables, and what they were made from.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::config::Size;
use crate::fsutil;
use crate::host::Firmware;
use crate::state::VmPaths;

/// A file's content, with what makes it unnecessary to read it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Device and inode.
    pub file: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Last modification and change, in nanoseconds.
    pub times: (i128, i128),
    /// BLAKE3 of the content.
    pub digest: String,
}

/// Two fingerprints are the same if the contents are.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
impl Eq for Fingerprint {}

impl Fingerprint {
    /// The fingerprint of `path`; it is read only if it isn't the file that
    /// `known` was made from.
    pub fn of(path: &Path, known: Option<&Self>) -> anyhow::Result<Self> {
        let stat = Stat::of(path)?;
        if let Some(known) = known.filter(|known| known.is(&stat)) {
            return Ok(known.clone());
        }
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut fs_err::File::open(path)?, &mut hasher)?;
        let Stat { file, size, times } = stat;
        Ok(Self {
            file,
            size,
            times,
            digest: hasher.finalize().to_hex().to_string(),
        })
    }

    fn is(&self, stat: &Stat) -> bool {
        (self.file, self.size, self.times) == (stat.file, stat.size, stat.times)
    }
}

/// What tells without reading that a file has not changed.
struct Stat {
    file: (u64, u64),
    size: u64,
    times: (i128, i128),
}

impl Stat {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let metadata = fs_err::metadata(path)?;
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            times: (
                nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            ),
        })
    }
}

/// `disk.json`: what a disk was made from. It is written after the disk and
/// removed before it, so that a disk without it is never used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// Differs for each disk that was ever made.
    pub instance: String,
    /// Size in bytes.
    pub size: u64,
    /// The image below the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Fingerprint>,
    /// The seed that configured the system on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Fingerprint>,
    /// The empty firmware variables that its own began as.
    pub vars: PathBuf,
}

impl DiskRecord {
    fn path(vm: &VmPaths) -> PathBuf {
        vm.dir().join("disk.json")
    }

    /// What the VM's disk was made from; none if there is no usable disk.
    pub fn read(vm: &VmPaths) -> Option<Self> {
        if !vm.disk().exists() || !vm.vars().exists() {
            return None;
        }
        serde_json::from_slice(&std::fs::read(Self::path(vm)).ok()?).ok()
    }

    fn write(&self, vm: &VmPaths) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot write disk.json")?;
        fsutil::write_atomically(&Self::path(vm), &text, 0o644)
    }
}

/// Forgets the disk, the firmware's variables and the memory that was saved
/// with them.
pub fn discard(vm: &VmPaths) -> anyhow::Result<()> {
    super::snapshot::forget(vm)?;
    for path in [DiskRecord::path(vm), vm.disk(), vm.vars()] {
        fsutil::remove_if_there(path)?;
    }
    Ok(())
}

/// What a disk shall be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) qemu_img: &'a Path,
    pub(super) firmware: &'a Firmware,
    pub(super) size: Size,
    pub(super) base: Option<&'a Path>,
    pub(super) seed: Option<&'a Path>,
}

/// What the disk would be made from now, as far as it decides whether the one
/// that is there still serves.
pub(super) fn wanted(vm: &VmPaths, plan: &Plan<'_>) -> anyhow::Result<DiskRecord> {
    let old = DiskRecord::read(vm);
    if let Some(base) = plan.base {
        let known = old.as_ref().and_then(|old| old.base.as_ref());
        let stat = Stat::of(base).context("the image below the disk; `make up` makes it")?;
        if known.is_none_or(|known| !known.is(&stat))
            || old
                .as_ref()
                .is_some_and(|old| old.size != plan.size.bytes())
        {
            fits(plan, base)?;
        }
    }
    let print = |path: Option<&Path>, known: Option<&Fingerprint>| {
        path.map(|path| Fingerprint::of(path, known)).transpose()
    };
    Ok(DiskRecord {
        instance: uuid::Uuid::new_v4().to_string(),
        size: plan.size.bytes(),
        base: print(plan.base, old.as_ref().and_then(|old| old.base.as_ref()))?,
        seed: print(plan.seed, old.as_ref().and_then(|old| old.seed.as_ref()))?,
        vars: plan.firmware.vars.clone(),
    })
}

/// Why the disk that is there can't be used for `wanted`; none if it can.
pub(super) fn outdated(vm: &VmPaths, wanted: &DiskRecord) -> Option<&'static str> {
    let Some(old) = DiskRecord::read(vm) else {
        return Some("there is none");
    };
    if old.base != wanted.base {
        Some("the image changed")
    } else if old.seed != wanted.seed {
        Some("the seed changed")
    } else if old.base.is_some() && old.size != wanted.size {
        Some("its size changed")
    } else {
        None
    }
}

/// Whether the first boot of the disk that is there has been seen to its end:
/// cloud-init does not do again what it was interrupted in.
pub fn is_set_up(vm: &VmPaths) -> bool {
    let ended = std::fs::read_to_string(vm.set_up()).unwrap_or_default();
    DiskRecord::read(vm).is_some_and(|record| record.instance == ended.trim())
}

/// Makes the disk and the variables anew.
pub(super) fn create(vm: &VmPaths, plan: &Plan<'_>, record: &DiskRecord) -> anyhow::Result<()> {
    discard(vm)?;
    let mut command = Command::new(plan.qemu_img);
    command.args(["create", "-q", "-f", "qcow2"]);
    if let Some(base) = plan.base {
        let base = fs_err::canonicalize(base)?;
        let format = fits(plan, &base)?;
        command.args(["-F", &format, "-b"]).arg(&base);
    }
    command.arg(vm.disk()).arg(plan.size.bytes().to_string());
    output(&mut command)?;
    copy_vars(&plan.firmware.vars, vm)?;
    record.write(vm)
}

/// Gives a disk that is kept the variables of a firmware that has changed:
/// boot entries are found again, while other firmware's variables may not fit.
pub(super) fn refresh_vars(vm: &VmPaths, firmware: &Firmware) -> anyhow::Result<()> {
    match DiskRecord::read(vm) {
        Some(mut record) if record.vars != firmware.vars => {
            copy_vars(&firmware.vars, vm)?;
            record.vars.clone_from(&firmware.vars);
            record.write(vm)
        }
        _ => Ok(()),
    }
}

/// Contents only, not permissions: the original may be read-only. Zeros become
/// holes; QEMU's `virt` wants 64 MiB of which hardly any is used.
fn copy_vars(from: &Path, vm: &VmPaths) -> anyhow::Result<()> {
    const BLOCK: usize = 64 << 10;
    let vars = fs_err::read(from)
        .context("the firmware's variables are missing; `make configure` looks for them anew")?;
    let path = vm.dir().join("vars.fd.new");
    let mut file = fs_err::File::create(&path)?;
    for (index, block) in vars.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start((index * BLOCK) as u64))?;
            file.write_all(block)?;
        }
    }
    file.set_len(vars.len() as u64)?;
    fs_err::rename(path, vm.vars())?;
    Ok(())
}

/// The image's format, if the disk is large enough for it.
fn fits(plan: &Plan<'_>, base: &Path) -> anyhow::Result<String> {
    let (format, size) = image_info(plan.qemu_img, base)?;
    anyhow::ensure!(
        size <= plan.size.bytes(),
        "the image {} needs a disk of at least {} MiB, and lab.toml gives {}",
        base.display(),
        size.div_ceil(1 << 20),
        plan.size
    );
    Ok(format)
}

fn image_info(qemu_img: &Path, image: &Path) -> anyhow::Result<(String, u64)> {
    let text = output(
        Command::new(qemu_img)
            .args(["info", "--output=json", "-U"])
            .arg(image),
    )?;
    let info: serde_json::Value =
        serde_json::from_slice(&text).context("qemu-img info printed no JSON")?;
    match (info["format"].as_str(), info["virtual-size"].as_u64()) {
        (Some(format @ ("qcow2" | "raw")), Some(size)) => Ok((format.to_owned(), size)),
        (format, _) => bail!(
            "{} is {}, not a disk image of type qcow2 or raw",
            image.display(),
            format.unwrap_or("of unknown type")
        ),
    }
}

/// Whether the disk's tables fit together. It may still be open somewhere.
pub(super) fn is_whole(vm: &VmPaths, qemu_img: &Path) -> anyhow::Result<bool> {
    let mut check = Command::new(qemu_img);
    check.args(["check", "-q", "-U", "-f", "qcow2"]);
    // 3: it is whole, but has room that nothing uses
    Ok(matches!(
        ended(check.arg(vm.disk()))?.status.code(),
        Some(0 | 3)
    ))
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = ended(command)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed: {}", said.trim());
    }
    Ok(output.stdout)
}

/// Runs it, however it ends.
fn ended(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .with_context(|| format!("cannot run {program}; `make configure` looks for QEMU anew"))
}
