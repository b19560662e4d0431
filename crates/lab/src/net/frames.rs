//! Ethernet frames on a byte stream, as QEMU's `-netdev stream` has them: a
//! length in four bytes, big-endian, and the frame.

use std::io::{self, Read};

/// No frame of QEMU's is longer (`NET_BUFSIZE` in its `include/net/net.h`).
pub const LONGEST: usize = 4096 + 65536;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The stream has no frame where one must begin: it is no stream of frames, or
/// a part of it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes, where {LONGEST} is the most: this is no stream of Ethernet frames")]
pub struct TooLong(pub u32);

/// Takes frames out of a stream that comes in pieces. It holds at most one
/// frame that is not yet complete, and one piece.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the first frame not yet taken begins.
    start: usize,
}

impl Frames {
    /// Adds what comes next in the stream. What is complete by then is to be
    /// taken before more is added.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// Reads once from `stream`, and says how many bytes came: none at its end.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let held = self.bytes.len();
        self.bytes.resize(held + CHUNK, 0);
        let read = stream.read(&mut self.bytes[held..]);
        self.bytes
            .truncate(held + read.as_ref().map_or(0, |count| *count));
        read
    }

    /// The next frame with its length before it, as it is in the stream; none
    /// if it isn't complete yet.
    pub fn take(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let rest = &self.bytes[self.start..];
        let Some(length) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let whole = match usize::try_from(length) {
            Ok(length) if length <= LONGEST => length + 4,
            _ => return Err(TooLong(length)),
        };
        if rest.len() < whole {
            return Ok(None);
        }
        let start = self.start;
        self.start += whole;
        Ok(Some(&self.bytes[start..start + whole]))
    }
}

/// `frame` with its length before it. Frames are never longer than [`LONGEST`].
pub fn framed(frame: &[u8]) -> Vec<u8> {
    debug_assert!(frame.len() <= LONGEST);
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(frames: &mut Frames) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut found = Vec::new();
        while let Some(frame) = frames.take()? {
            found.push(frame[4..].to_vec());
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
            cuts in prop::collection::vec(1_usize..60, 1..20),
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|frame| framed(frame)).collect();
            let (mut frames, mut got, mut rest) = (Frames::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                frames.push(piece);
                got.extend(all(&mut frames).unwrap());
                rest = after;
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn garbage_ends_in_frames_or_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut frames = Frames::default();
            for piece in bytes.chunks(7) {
                frames.push(piece);
                if all(&mut frames).is_err() {
                    break;
                }
                prop_assert!(frames.bytes.len() <= LONGEST + 4 + 7);
            }
        }
    }

    #[test]
    fn a_length_that_no_frame_has_is_refused_before_anything_is_kept_for_it() {
        let mut frames = Frames::default();
        frames.push(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(frames.take(), Err(TooLong(u32::MAX)));
        let mut frames = Frames::default();
        let longest = vec![7; LONGEST];
        frames.push(&framed(&longest));
        assert_eq!(all(&mut frames).unwrap(), [longest]);
    }
}
