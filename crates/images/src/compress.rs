//! A raw disk as the zstd stream that the installer reads.

use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;

/// Compression level: the default, a good part of what higher ones win.
const LEVEL: i32 = 3;
/// log2 of the window in bytes: 8 MiB, which every decoder accepts and an
/// initramfs has room for (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG: u32 = 23;

/// Compresses `raw` to `out`, checksum included. Both are paths of the host.
pub fn to_zstd(raw: &Path, out: &Path) -> anyhow::Result<()> {
    let input = fs::File::open(raw)?;
    let size = input.metadata()?.len();
    let output = BufWriter::with_capacity(1 << 20, fs::File::create(out)?);
    let mut encoder = zstd::Encoder::new(output, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.include_contentsize(true)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
    std::io::copy(&mut BufReader::with_capacity(1 << 20, input), &mut encoder)
        .with_context(|| format!("compressing {} to {}", raw.display(), out.display()))?;
    encoder.finish()?.flush()?;
    Ok(())
}
