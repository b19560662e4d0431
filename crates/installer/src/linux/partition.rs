//! The installed system's root, mounted while no partition table on the disk names it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::sys::{self, Change};
use crate::{disk::Disk, gpt::Partition};

/// Where it is mounted.
const ROOT: &str = "/lab-root";
const TRIES: u32 = 50;
const STEP: Duration = Duration::from_millis(100);

/// Mounts the partition, has `work` done in it, and unmounts it.
pub(super) fn with_root(
    disk: &Disk,
    partition: Partition,
    work: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Partition {
        number,
        start,
        length,
    } = partition;
    sys::partition(disk.file(), Change::Add, number, start, length)
        .with_context(|| format!("can't tell the kernel of partition {number}"))?;
    let done = mounted(&device(disk.path(), number), work);
    let removed = (0..TRIES).find_map(|_| {
        // a moment may pass until whoever looked at the new device has closed it
        match sys::partition(disk.file(), Change::Remove, number, 0, 0) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(STEP);
                None
            }
            result => Some(result),
        }
    });
    done?;
    match removed {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(error).context("can't have the kernel forget the partition"),
        None => bail!("partition {number} stays in use"),
    }
}

fn mounted(device: &Path, work: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        if device.exists() {
            break;
        }
        thread::sleep(STEP);
    }
    fs::create_dir_all(ROOT).context("can't make a folder to mount on")?;
    mount(
        device,
        ROOT,
        "ext4",
        MountFlags::NOATIME,
        None::<&std::ffi::CStr>,
    )
    .with_context(|| {
        format!(
            "can't mount {}; does the kernel have ext4?",
            device.display()
        )
    })?;
    let done = work(Path::new(ROOT));
    let unmounted = unmount(ROOT, UnmountFlags::empty()).context("can't unmount the new system");
    done.and(unmounted)
}

/// The device of a partition: `/dev/vda1`, `/dev/nvme0n1p1`.
fn device(disk: &Path, number: u32) -> PathBuf {
    let disk = disk.to_string_lossy();
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    PathBuf::from(format!("{disk}{p}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_the_kernel_does() {
        let name = |disk| device(Path::new(disk), 3).display().to_string();
        assert_eq!(name("/dev/vda"), "/dev/vda3");
        assert_eq!(name("/dev/nvme0n1"), "/dev/nvme0n1p3");
    }
}
