//! The layout of a disk image: a GPT, an EFI system partition, a root.
//!
//! `mke2fs` has already written the root file system at [`ROOT_OFFSET`]; what
//! is added here are the partition table around it and the ESP with GRUB.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;
use gptman::{GPT, GPTPartitionEntry};

use crate::volume::{Entry, Volume};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Where the EFI system partition starts, in bytes: aligned, after the GPT.
const ESP_OFFSET: u64 = MIB;
/// Size of the EFI system partition in bytes.
const ESP_SIZE: u64 = 64 * MIB;
/// Where the root file system starts, in bytes.
pub(crate) const ROOT_OFFSET: u64 = ESP_OFFSET + ESP_SIZE;
/// Room for the backup GPT behind the root.
const TAIL: u64 = MIB;

/// Partition types (UEFI specification, and the Discoverable Partitions
/// Specification's generic Linux data), as on disk: the first three fields
/// little-endian.
const TYPE_ESP: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];
const TYPE_LINUX: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

/// Turns `disk`, a file with nothing but a root file system at
/// [`ROOT_OFFSET`], into a UEFI-bootable disk.
///
/// `loader` is the EFI program, put where firmware looks for it on any disk:
/// `loader_name` is `BOOTX64.EFI` or `BOOTAA64.EFI` (UEFI specification,
/// section 3.5.1.1).
pub(crate) fn make_bootable(disk: &Path, loader: &Path, loader_name: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(disk)?;
    let root_end = file.metadata()?.len().next_multiple_of(MIB);
    anyhow::ensure!(
        root_end > ROOT_OFFSET,
        "{}: no root file system in it",
        disk.display()
    );
    file.set_len(root_end + TAIL)?;
    write_gpt(&mut file, root_end)
        .with_context(|| format!("writing the partition table of {}", disk.display()))?;
    drop(file);
    write_esp(disk, loader, loader_name)
}

fn write_gpt(file: &mut fs::File, root_end: u64) -> anyhow::Result<()> {
    let guid = |what: &str| -> [u8; 16] {
        let mut guid = [0; 16];
        guid.copy_from_slice(&blake3::hash(what.as_bytes()).as_bytes()[..16]);
        // RFC 9562: version 8 (custom), variant 10
        guid[7] = (guid[7] & 0x0f) | 0x80;
        guid[8] = (guid[8] & 0x3f) | 0x80;
        guid
    };
    let mut gpt = GPT::new_from(file, SECTOR, guid("disk"))?;
    gpt[1] = GPTPartitionEntry {
        partition_type_guid: TYPE_ESP,
        unique_partition_guid: guid("esp"),
        starting_lba: ESP_OFFSET / SECTOR,
        ending_lba: ROOT_OFFSET / SECTOR - 1,
        attribute_bits: 0,
        partition_name: "esp".into(),
    };
    gpt[2] = GPTPartitionEntry {
        partition_type_guid: TYPE_LINUX,
        unique_partition_guid: guid("root"),
        starting_lba: ROOT_OFFSET / SECTOR,
        ending_lba: root_end / SECTOR - 1,
        attribute_bits: 0,
        partition_name: "root".into(),
    };
    GPT::write_protective_mbr_into(file, SECTOR)?;
    gpt.write_into(file)?;
    Ok(())
}

fn write_esp(disk: &Path, loader: &Path, loader_name: &str) -> anyhow::Result<()> {
    let folder = disk.parent().unwrap_or(Path::new("."));
    let mut esp = tempfile::tempfile_in(folder)?;
    esp.set_len(ESP_SIZE)?;
    Volume {
        label: "UEFI".to_owned(),
        entries: vec![Entry {
            path: format!("EFI/BOOT/{loader_name}"),
            source: loader.to_owned(),
        }],
    }
    .write_into(&mut esp, ESP_SIZE)?;
    esp.seek(SeekFrom::Start(0))?;
    let mut file = fs::OpenOptions::new().write(true).open(disk)?;
    file.seek(SeekFrom::Start(ESP_OFFSET))?;
    std::io::copy(&mut esp, &mut file)
        .with_context(|| format!("writing the EFI system partition of {}", disk.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::{FileSystem, FsOptions};
    use std::io::{Read as _, Write as _};

    #[test]
    fn the_loader_is_where_firmware_looks_and_the_root_is_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, loader) = (dir.path().join("disk.raw"), dir.path().join("grub.efi"));
        fs::write(&loader, b"MZ loader").unwrap();
        let mut file = fs::File::create(&disk).unwrap();
        file.seek(SeekFrom::Start(ROOT_OFFSET)).unwrap();
        file.write_all(b"a root file system").unwrap();
        drop(file);

        make_bootable(&disk, &loader, "BOOTX64.EFI").unwrap();

        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&disk)
            .unwrap();
        let gpt = GPT::find_from(&mut file).unwrap();
        assert_eq!(gpt[1].partition_type_guid, TYPE_ESP);
        assert_eq!(gpt[2].starting_lba * SECTOR, ROOT_OFFSET);
        let mut root = [0; 18];
        file.seek(SeekFrom::Start(ROOT_OFFSET)).unwrap();
        file.read_exact(&mut root).unwrap();
        assert_eq!(&root, b"a root file system");

        let slice = fscommon::StreamSlice::new(file, ESP_OFFSET, ROOT_OFFSET).unwrap();
        let esp = FileSystem::new(slice, FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        esp.root_dir()
            .open_file("EFI/BOOT/BOOTX64.EFI")
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, b"MZ loader");
    }

    #[test]
    fn a_disk_without_a_root_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk.raw");
        fs::write(&disk, b"").unwrap();
        assert!(make_bootable(&disk, &disk, "BOOTX64.EFI").is_err());
    }
}
