//! The state file's frames: length, checksum, kind, id, payload. A torn tail ends the reading.
//!
//! Reading steps from length to length. A frame whose content is damaged counts as not there, and those behind
//! it are found as ever; where a length is damaged the reading ends, and what is added goes to that place.

use std::ops::Range;

/// Another header means another format: its content is not read.
pub(super) const HEADER: &[u8; 8] = b"hmkstt04";
const HEAD: usize = 4 + 8 + 1 + 8;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A task's last result; empty if it was forgotten.
    Task,
    /// Digests of files.
    Files,
}

/// Where a frame's payload is.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) range: Range<usize>,
    /// What is checked: kind, id and payload.
    body: Range<usize>,
    check: u64,
}

impl Frame {
    /// The payload, if it is what was written. Checked here and not while scanning: a no-op of one task
    /// then checks one frame, and one of all tasks does it in parallel.
    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (hash64(bytes.get(self.body.clone())?) == self.check).then(|| &bytes[self.range.clone()])
    }
}

/// 64 bits of a digest.
pub(super) fn hash64(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

pub(super) fn id(name: &str) -> u64 {
    hash64(name.as_bytes())
}

pub(super) fn encode(kind: Kind, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEAD + payload.len());
    body.push(match kind {
        Kind::Task => 1,
        Kind::Files => 2,
    });
    body.extend(id.to_le_bytes());
    body.extend(payload);
    let mut frame = u32::try_from(body.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes()
        .to_vec();
    frame.extend(hash64(&body).to_le_bytes());
    frame.extend(body);
    frame
}

/// All frames from byte `from` on that end within the file, and where the last of them ends.
pub(super) fn scan(bytes: &[u8], from: usize) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    if bytes.get(..HEADER.len()) != Some(HEADER) {
        return (frames, 0);
    }
    let mut pos = from.max(HEADER.len());
    while let Some(frame) = next(bytes, pos) {
        pos = frame.range.end;
        frames.push(frame);
    }
    (frames, pos)
}

fn next(bytes: &[u8], pos: usize) -> Option<Frame> {
    let word = |at: usize| -> Option<[u8; 8]> { bytes.get(at..at + 8)?.try_into().ok() };
    let length = bytes.get(pos..pos + 4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let check = u64::from_le_bytes(word(pos + 4)?);
    let body = pos + 12..(pos + 12).checked_add(length)?;
    let content = bytes.get(body.clone())?;
    if length < 9 {
        return None;
    }
    let kind = match content[0] {
        1 => Kind::Task,
        2 => Kind::Files,
        _ => return None,
    };
    Some(Frame {
        kind,
        id: u64::from_le_bytes(word(body.start + 1)?),
        range: body.start + 9..body.end,
        body,
        check,
    })
}

/// True if most of a big file is out of date.
pub(super) fn worth_compacting(total: usize, live: usize) -> bool {
    total > 1 << 20 && total > 4 * (live + 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_tail_is_survived(good in 0usize..4, tail in proptest::collection::vec(0u8..=255, 0..80)) {
            let mut bytes = HEADER.to_vec();
            for i in 0..good {
                bytes.extend(encode(Kind::Task, i as u64, b"payload"));
            }
            bytes.extend(&tail);
            let (frames, _) = scan(&bytes, 0);
            let whole = frames.iter().filter(|f| f.payload(&bytes).is_some()).count();
            proptest::prop_assert_eq!(whole, good);
            // what is added behind the last whole frame is found again
            let (_, end) = scan(&bytes, 0);
            bytes.truncate(end);
            bytes.extend(encode(Kind::Files, 7, b"later"));
            let (frames, _) = scan(&bytes, 0);
            let last = frames.last().unwrap();
            proptest::prop_assert_eq!((last.id, last.payload(&bytes)), (7, Some(&b"later"[..])));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0u8..=255, 0..200)) {
            let _ = scan(&bytes, 0);
        }
    }
}
