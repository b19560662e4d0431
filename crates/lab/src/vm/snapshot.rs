//! A VM's memory on disk: written when the lab goes down, loaded when it comes
//! up again, so that nothing has to boot.
//!
//! The disk stays where it is. `ram.img` fits it only in the state in which the
//! two were left together, so `saved.json` (which vouches for it) is written
//! after the memory and removed before the guest runs on: whatever happens in
//! between, the worst is a boot from the disk, as after a power cut.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::disk::Fingerprint;
use super::qmp::Qmp;
use super::record::Record;
use super::{detach, process, sparse};
use crate::fsutil;
use crate::state::VmPaths;

/// How long writing or loading the memory may take: some fifty times what was
/// measured for 1 GiB.
const LIMIT: Duration = Duration::from_secs(120);

/// How long QEMU may take to give up writing or loading.
const CANCEL: Duration = Duration::from_secs(10);

/// QEMU's first version with `migrate file:`.
const MIGRATE_FILE: (u64, u64, u64) = (8, 2, 0);
/// QEMU's first version whose memory file has a fixed place for each page.
const MAPPED_RAM: (u64, u64, u64) = (9, 0, 0);

/// `saved.json`: what the memory on disk belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The disk's installation.
    pub instance: String,
    /// Digest of the command line without what may change while it runs: with
    /// it machine, processor, accelerator, firmware, memory.
    pub wanted: String,
    /// QEMU's version.
    pub qemu: String,
    /// The content disk that was plugged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    /// The memory file as it was left: inode, size, modification time in
    /// nanoseconds since 1970.
    file: (u64, u64, i128),
    /// The host's boot in which it was written. The system may write it to the
    /// disk later, and a power cut in between would leave parts of it.
    boot: String,
    /// What it held, asked for only in another boot.
    digest: String,
}

/// What is known of the memory file without reading it.
fn stat(vm: &VmPaths) -> std::io::Result<(u64, u64, i128)> {
    let metadata = std::fs::metadata(vm.ram())?;
    let nanoseconds =
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok((metadata.ino(), metadata.len(), nanoseconds))
}

impl Saved {
    /// What is saved of the VM, if anything is.
    pub fn read(vm: &VmPaths) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(vm.saved()).ok()?).ok()
    }

    /// Why it can't be resumed from for a VM that shall be started so; none if
    /// it can.
    pub(super) fn misfit(&self, vm: &VmPaths, instance: &str, wanted: &str) -> Option<String> {
        if self.instance != instance {
            Some("it belongs to another disk".to_owned())
        } else if self.wanted != wanted {
            Some("the machine changed since".to_owned())
        } else if !matches!(stat(vm), Ok(now) if now == self.file) || !self.survived(vm) {
            Some("the file is damaged: it is not as it was left".to_owned())
        } else {
            None
        }
    }

    /// Whether a power cut since, if there was one, left all of it.
    fn survived(&self, vm: &VmPaths) -> bool {
        let now = process::boot_id();
        (!now.is_empty() && now == self.boot)
            || matches!(sparse::digest(&vm.ram()), Ok(digest) if digest == self.digest)
    }
}

/// Forgets what is saved.
pub(super) fn forget(vm: &VmPaths) -> anyhow::Result<()> {
    for path in [vm.saved(), vm.ram()] {
        fsutil::remove_if_there(path)?;
    }
    Ok(())
}

/// Writes the memory of a running VM to disk and leaves the VM paused, with
/// all that it has written in its disk. On failure the VM runs on.
pub(super) fn save(vm: &VmPaths, record: &Record, qmp: &mut Qmp) -> anyhow::Result<()> {
    anyhow::ensure!(
        qmp.version() >= MIGRATE_FILE,
        "QEMU {} can't write a guest's memory to a file; 8.2 and later can",
        record.qemu
    );
    forget(vm)?;
    hold(vm)?;
    // QEMU makes the file, readable for its user only: `launch` sees to that.
    let result = write(vm, qmp).and_then(|()| {
        let saved = Saved {
            instance: record.instance.clone(),
            wanted: record.wanted.clone(),
            qemu: record.qemu.clone(),
            content: record.content.clone(),
            file: stat(vm)?,
            boot: process::boot_id(),
            digest: sparse::digest(&vm.ram())?,
        };
        let text = serde_json::to_vec_pretty(&saved)?;
        fsutil::write_atomically(&vm.saved(), &text, 0o600)
    });
    if result.is_err() {
        forget(vm)?;
        let _ = let_run(vm, qmp);
    }
    result
}

/// Notes that the guest is about to be stopped.
pub(super) fn hold(vm: &VmPaths) -> anyhow::Result<()> {
    fs_err::write(vm.held(), "").map_err(Into::into)
}

/// Lets a guest run on that is, or was, being saved: its memory is in QEMU.
pub(super) fn let_run(vm: &VmPaths, qmp: &mut Qmp) -> anyhow::Result<()> {
    let _ = qmp.execute("migrate_cancel", json!({}));
    let deadline = Instant::now() + CANCEL;
    loop {
        let now = qmp.execute("query-migrate", json!({}))?;
        match now["status"].as_str() {
            None | Some("none" | "completed" | "failed" | "cancelled") => break,
            _ if Instant::now() >= deadline => anyhow::bail!("its migration does not end"),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    qmp.execute("cont", json!({}))?;
    fsutil::remove_if_there(vm.held())?;
    Ok(())
}

fn write(vm: &VmPaths, qmp: &mut Qmp) -> anyhow::Result<()> {
    qmp.execute("stop", json!({}))?;
    capabilities(qmp)?;
    // 0: as fast as the disk takes it
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 0 }))?;
    // The guest's own flushes don't reach the host's disk, so after a power cut
    // that may lack what the memory takes for written. Unlike the memory it is
    // too large to be read and compared then.
    std::thread::scope(|scope| {
        let disk = scope.spawn(|| fs_err::File::open(vm.disk())?.sync_data());
        qmp.execute("migrate", json!({ "uri": "file:ram.img" }))?;
        completed(vm, qmp)?;
        match disk.join() {
            Ok(synced) => synced.map_err(Into::into),
            Err(_) => anyhow::bail!("the thread that syncs the disk panicked"),
        }
    })
}

/// Loads the memory into a QEMU that was started with `-incoming defer`; the
/// guest is still paused afterwards.
pub(super) fn load(vm: &VmPaths, qmp: &mut Qmp) -> anyhow::Result<()> {
    capabilities(qmp)?;
    qmp.execute("migrate-incoming", json!({ "uri": "file:ram.img" }))?;
    completed(vm, qmp)
}

/// Lets the guest run on; what was saved of it holds no longer.
pub(super) fn go_on(vm: &VmPaths, qmp: &mut Qmp) -> anyhow::Result<()> {
    fsutil::remove_if_there(vm.saved())?;
    detach::delete(&vm.ram())?;
    qmp.execute("cont", json!({}))
        .context("the guest's memory was loaded, but the guest does not run on")?;
    fsutil::remove_if_there(vm.held())?;
    Ok(())
}

/// Each page at a fixed place in the file, where QEMU has that: no page is
/// written twice, and pages of zeros are holes.
fn capabilities(qmp: &mut Qmp) -> anyhow::Result<()> {
    if qmp.version() >= MAPPED_RAM {
        let wanted = json!([{ "capability": "mapped-ram", "state": true }]);
        qmp.execute(
            "migrate-set-capabilities",
            json!({ "capabilities": wanted }),
        )?;
    }
    Ok(())
}

/// Waits for the end of a migration.
fn completed(vm: &VmPaths, qmp: &mut Qmp) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let now = qmp.execute("query-migrate", json!({}))?;
        match now["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                let said = now["error-desc"].as_str().map_or_else(
                    || super::launch::last_lines(&vm.qemu_log(), 3),
                    str::to_owned,
                );
                anyhow::bail!("QEMU says: {said}");
            }
            _ if Instant::now() >= deadline => {
                anyhow::bail!("it took longer than {} s", LIMIT.as_secs())
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::LabPaths;

    fn saved(dir: &Path) -> (VmPaths, Saved) {
        let vm = LabPaths::new(dir, "lab").unwrap().vm("server");
        fs_err::create_dir_all(vm.dir()).unwrap();
        fs_err::write(vm.ram(), "memory").unwrap();
        let saved = Saved {
            instance: "i".to_owned(),
            wanted: "w".to_owned(),
            qemu: "10.0.2".to_owned(),
            content: None,
            file: stat(&vm).unwrap(),
            boot: process::boot_id(),
            digest: sparse::digest(&vm.ram()).unwrap(),
        };
        (vm, saved)
    }

    #[test]
    fn only_what_fits_is_resumed_from() {
        let dir = tempfile::tempdir().unwrap();
        let (vm, saved) = saved(dir.path());
        assert_eq!(saved.misfit(&vm, "i", "w"), None);
        assert!(saved.misfit(&vm, "other", "w").unwrap().contains("disk"));
        assert!(saved.misfit(&vm, "i", "x").unwrap().contains("machine"));
        for damage in [&b"mem"[..], b"memorY", b"memory and more"] {
            fs_err::write(vm.ram(), damage).unwrap();
            assert!(saved.misfit(&vm, "i", "w").unwrap().contains("damaged"));
        }
        fs_err::remove_file(vm.ram()).unwrap();
        assert!(saved.misfit(&vm, "i", "w").unwrap().contains("damaged"));
    }

    #[test]
    fn after_another_boot_the_content_has_to_be_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (vm, mut saved) = saved(dir.path());
        // a power cut: the file is there as it was, and some of it is not
        let times = std::fs::metadata(vm.ram()).unwrap().modified().unwrap();
        fs_err::write(vm.ram(), "mem\0\0\0").unwrap();
        let file = std::fs::File::options().write(true).open(vm.ram()).unwrap();
        file.set_modified(times).unwrap();
        assert_eq!(saved.misfit(&vm, "i", "w"), None, "not looked at");
        "another".clone_into(&mut saved.boot);
        assert!(saved.misfit(&vm, "i", "w").unwrap().contains("damaged"));
        fs_err::write(vm.ram(), "memory").unwrap();
        file.set_modified(times).unwrap();
        assert_eq!(saved.misfit(&vm, "i", "w"), None);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (vm, saved) = saved(dir.path());
        assert_eq!(Saved::read(&vm), None);
        fs_err::write(vm.saved(), serde_json::to_vec(&saved).unwrap()).unwrap();
        assert_eq!(Saved::read(&vm), Some(saved));
        fs_err::write(vm.saved(), "{").unwrap();
        assert_eq!(Saved::read(&vm), None);
        forget(&vm).unwrap();
        assert!(!vm.ram().exists() && !vm.saved().exists());
    }
}
