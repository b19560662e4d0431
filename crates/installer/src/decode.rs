//! Decompresses a zstd stream that may have more than one frame.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// The largest window that is taken: what `zstd` uses up to level 19. A larger
/// one would need as much memory, and an initramfs has little.
const WINDOW: u64 = 8 << 20;

/// The decompressed bytes of everything that `source` holds.
pub struct Decoder<R: BufRead> {
    source: R,
    frame: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of what `source` holds.
    pub fn new(source: R) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        Self {
            source,
            frame,
            in_frame: false,
        }
    }

    /// Where the compressed bytes come from.
    pub fn get_ref(&self) -> &R {
        &self.source
    }

    /// Reads a frame's header. Frames that say of themselves that they are to be
    /// skipped, as pzstd writes them, are.
    fn begin(&mut self) -> io::Result<()> {
        match self.frame.reset(&mut self.source) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(invalid(error)),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin()?;
                continue;
            }
            if self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                self.frame
                    .decode_blocks(&mut self.source, some)
                    .map_err(invalid)?;
            }
            let n = self.frame.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            self.in_frame = !self.frame.is_finished();
        }
    }
}

fn invalid(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
