//! Reads a partition table, so that the kernel can be told of one partition
//! before the table itself is on the disk.

use anyhow::{anyhow, bail};

use crate::disk::Disk;

const SECTOR: u64 = 512;
/// The largest number of entries that is looked at; tables have 128.
const ENTRIES: u32 = 1024;

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

/// The partitions of the GPT in `head`, the first bytes of a disk.
pub fn partitions(head: &[u8]) -> anyhow::Result<Vec<Partition>> {
    let header = slice(head, SECTOR, 92)?;
    if !header.starts_with(b"EFI PART") {
        bail!("the image has no GPT");
    }
    let table = number(header, 72, 8)?;
    let entries = u32::try_from(number(header, 80, 4)?)?;
    let size = number(header, 84, 4)?;
    if entries > ENTRIES || size < 128 {
        bail!("the image's GPT says {entries} entries of {size} bytes");
    }
    let mut found = Vec::new();
    for index in 0..entries {
        let at = table
            .checked_mul(SECTOR)
            .and_then(|at| at.checked_add(u64::from(index) * size));
        let entry = slice(
            head,
            at.ok_or_else(|| anyhow!("the image's GPT is damaged"))?,
            128,
        )?;
        let (first, last) = (number(entry, 32, 8)?, number(entry, 40, 8)?);
        let used = entry[..16].iter().any(|byte| *byte != 0);
        if !used {
            continue;
        }
        if first > last || last >= u64::MAX / SECTOR {
            bail!(
                "partition {} of the image runs from sector {first} to {last}",
                index + 1
            );
        }
        found.push(Partition {
            number: index + 1,
            start: first * SECTOR,
            length: (last - first + 1) * SECTOR,
        });
    }
    Ok(found)
}

/// The partition with the root file system: the ext4 one labelled
/// `cloudimg-rootfs`, or else the largest ext4 one.
pub fn root(disk: &Disk, partitions: &[Partition]) -> anyhow::Result<Partition> {
    let mut best: Option<(bool, u64, Partition)> = None;
    for partition in partitions {
        if partition.length < 4096 || partition.start + partition.length > disk.size() {
            continue;
        }
        let superblock = disk.read(partition.start + 1024, 1024)?;
        if superblock[0x38..0x3a] != [0x53, 0xef] {
            continue;
        }
        let label = &superblock[0x78..0x88];
        let labelled = label.starts_with(b"cloudimg-rootfs");
        let candidate = (labelled, partition.length, *partition);
        if best.is_none_or(|(l, length, _)| (l, length) < (labelled, partition.length)) {
            best = Some(candidate);
        }
    }
    best.map(|(.., partition)| partition).ok_or_else(|| {
        anyhow!(
            "none of the image's {} partitions has an ext4 file system",
            partitions.len()
        )
    })
}

fn slice(bytes: &[u8], at: u64, length: usize) -> anyhow::Result<&[u8]> {
    let from = usize::try_from(at).ok();
    from.and_then(|from| bytes.get(from..from.checked_add(length)?))
        .ok_or_else(|| {
            anyhow!(
                "the image's partition table is not within its first {} bytes",
                bytes.len()
            )
        })
}

/// The little-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: u64, length: usize) -> anyhow::Result<u64> {
    let bytes = slice(bytes, at, length)?;
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
