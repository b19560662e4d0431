//! Whatever a server sends, the installer ends with an image or an error: a
//! panic would leave the machine without a reason that anyone could read.

use std::{io::Read, sync::LazyLock};

use installer::{decode::Decoder, gpt};
use proptest::prelude::*;

/// A stream with literals, matches and a checksum.
static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text: Vec<u8> = (0..60_000u32)
        .flat_map(|i| (i * i / 7 % 1009).to_string().into_bytes())
        .collect();
    ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest)
});

/// Bytes that come out, up to a bound; errors are as good as an end.
fn decode(packed: &[u8]) -> u64 {
    let mut decoder = Decoder::new(packed).take(64 << 20);
    std::io::copy(&mut decoder, &mut std::io::sink()).unwrap_or(0)
}

#[test]
fn the_stream_itself_is_good() {
    assert!(decode(&PACKED) > 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stream_with_flipped_bytes_ends(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packed = PACKED.clone();
        for (index, byte) in changes {
            let at = index.index(packed.len());
            packed[at] = byte;
        }
        decode(&packed);
        decode(&packed[..cut.index(packed.len())]);
    }

    #[test]
    fn random_bytes_after_a_frame_s_magic_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode(&[&[0x28, 0xb5, 0x2f, 0xfd], &bytes[..]].concat());
        decode(&[&[0x50, 0x2a, 0x4d, 0x18], &bytes[..]].concat());
        decode(&bytes);
    }

    #[test]
    fn any_table_is_read_or_refused(header in prop::collection::vec(any::<u8>(), 84), entries in 0u32..300, size in 0u32..300) {
        let mut head = vec![0x11; 64 << 10];
        head[512..512 + 84].copy_from_slice(&header);
        head[512..520].copy_from_slice(b"EFI PART");
        head[512 + 80..][..4].copy_from_slice(&entries.to_le_bytes());
        head[512 + 84..][..4].copy_from_slice(&size.to_le_bytes());
        if let Ok(found) = gpt::partitions(&head) {
            prop_assert!(found.len() <= entries as usize);
        }
    }
}
