//! From the server to the disk: fetch, hash, decompress, write.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use anyhow::{Context, anyhow, bail};
use protocol::{Digest, Plan};

use crate::{
    decode::Decoder,
    disk::{Disk, HEAD},
    fetch::{CHUNK, Client},
};

/// Chunks that may wait to be decompressed.
const WAITING: usize = 8;

/// Writing has stopped before the end.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the image isn't needed any more")]
struct NotNeeded;

/// The parts of the image that make the disk bootable, held back until all the
/// rest is on the disk.
pub struct Held {
    head: Vec<u8>,
    tail: Vec<u8>,
    raw_size: u64,
}

impl Held {
    /// The image's first MiB, with its partition table.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Makes the disk bootable: writes the table's copy, and the table last.
    pub fn commit(self, disk: &mut Disk) -> anyhow::Result<()> {
        let write = |disk: &Disk| {
            disk.write(self.raw_size - self.tail.len() as u64, &self.tail)?;
            disk.sync()?;
            disk.write(0, &self.head)?;
            disk.sync()
        };
        write(disk).inspect_err(|_| {
            // half a table might boot: none can't. If this fails too there is nothing left to try
            let _ = disk.wipe();
        })
    }
}

/// Streams the plan's image to `disk`, all but what [`Held`] holds. Before this
/// returns without an error the image was found to be the plan's, in full.
///
/// The disk must be wiped already. `progress` is told how many bytes of the
/// compressed image have been worked through.
pub fn write(
    plan: &Plan,
    disk: &Disk,
    client: &Client,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<Held> {
    disk.require(plan.raw_size)?;
    let (url, size) = (plan.image_url.clone(), plan.compressed_size);
    let client = client.clone();
    let (sender, receiver) = sync_channel(WAITING);
    let fetch = thread::spawn(move || -> anyhow::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        client.stream(&url, size, |chunk| {
            hasher.update(&chunk);
            sender.send(chunk).map_err(|_| anyhow!(NotNeeded))
        })?;
        Ok(Digest::blake3(hasher.finalize().into()))
    });
    let mut source = Chunks {
        receiver,
        chunk: Vec::new(),
        used: 0,
        done: 0,
    };
    let written = decompress(plan, disk, &mut source, &mut progress);
    drop(source);
    let fetched = fetch
        .join()
        .map_err(|_| anyhow!("fetching the image panicked"))?;
    match (fetched, written) {
        // when the download stops, the image ends early; when writing stops, the
        // rest isn't fetched. What is told is the cause, not what followed from it
        (Err(fetch), Err(write)) => Err(if fetch.is::<NotNeeded>() {
            write
        } else {
            fetch
        }),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Ok(digest), Ok(_)) if digest != plan.digest => {
            bail!(
                "the image's digest is {digest}, and the plan says {}",
                plan.digest
            )
        }
        (Ok(_), Ok(held)) => Ok(held),
    }
}

fn decompress(
    plan: &Plan,
    disk: &Disk,
    source: &mut Chunks,
    progress: &mut impl FnMut(u64),
) -> anyhow::Result<Held> {
    let raw_size = plan.raw_size;
    if raw_size < 2 * HEAD {
        bail!("the plan's image has {raw_size} bytes: too small for a disk");
    }
    let tail_at = raw_size - HEAD;
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::new(&mut *source);
    let mut block = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let filled = fill(&mut decoder, &mut block).context("can't decompress the image")?;
        if filled == 0 {
            break;
        }
        let end = at + filled as u64;
        if end > raw_size {
            bail!("the image is larger than the {raw_size} bytes that the plan says");
        }
        // blocks are a MiB from the begin on, so the head is the first one; the
        // tail may begin anywhere in a block
        if at < HEAD {
            head.extend_from_slice(&block[..filled]);
        } else {
            let kept = usize::try_from(tail_at.saturating_sub(at))?.min(filled);
            disk.write(at, &block[..kept])?;
            tail.extend_from_slice(&block[kept..filled]);
        }
        at = end;
        progress(decoder.get_ref().done);
    }
    if at != raw_size {
        bail!("the image has {at} bytes, and the plan says {raw_size}");
    }
    disk.sync()?;
    Ok(Held {
        head,
        tail,
        raw_size,
    })
}

/// Fills `buffer` as far as the source goes.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What the other thread fetches, as one stream.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    used: usize,
    /// Bytes that were read.
    done: u64,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            // no more senders is the end
            self.chunk = self.receiver.recv().unwrap_or_default();
            self.used = 0;
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
        self.done += n as u64;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
