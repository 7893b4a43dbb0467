use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// RFC 1071, section 3.
#[test]
fn the_example_of_the_rfc() {
    let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.fold(), [0xdd, 0xf2]);
    assert_eq!(sum.checksum(), [0x22, 0x0d]);
}

#[test]
fn a_known_header_is_intact_and_its_damage_shows() {
    let mut header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
    assert!(Sum::of(&header).is_intact());
    header[3] ^= 1;
    assert!(!Sum::of(&header).is_intact());
}

#[test]
fn the_longest_packet_of_ones_does_not_overflow() {
    assert_eq!(Sum::of(&[0xff; 65_536]).fold(), [0xff; 2]);
    assert_eq!(Sum::of(&[0; 65_536]).fold(), [0; 2]);
}

#[test]
fn a_partial_checksum_is_finished_and_never_zero() {
    // The field holds the sum of a pseudo-header; the rest makes the whole sum 0xffff, whose complement is zero.
    let mut packet = [9, 9, 0x12, 0x34, 0xed, 0xcb];
    assert!(finish(&mut packet, PartialChecksum { start: 2, offset: 0 }));
    assert_eq!(packet, [9, 9, 0xff, 0xff, 0xed, 0xcb]);
}

#[test]
fn a_partial_checksum_beyond_the_packet_is_refused() {
    for (start, offset) in [(7, 0), (6, 0), (0, 5), (5, 0), (0, u16::MAX), (u16::MAX, u16::MAX)] {
        let mut packet = [1, 2, 3, 4, 5, 6];
        assert!(!finish(&mut packet, PartialChecksum { start, offset }), "{start} {offset}");
        assert_eq!(packet, [1, 2, 3, 4, 5, 6]);
    }
}

proptest! {
    #[test]
    fn it_sums_as_its_twin(bytes in vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..2000)) {
        prop_assert_eq!(Sum::of(&bytes).fold(), naive(&bytes));
    }

    #[test]
    fn parts_at_even_offsets_add_up(bytes in vec(any::<u8>(), 0..200), at in 0usize..100) {
        let (first, second) = bytes.split_at((at * 2).min(bytes.len() / 2 * 2));
        prop_assert_eq!((Sum::of(first) + Sum::of(second)).fold(), naive(&bytes));
    }

    #[test]
    fn a_pseudo_header_is_its_bytes(addresses: [u8; 32], protocol: u8, len in 0usize..70_000) {
        let mut bytes = addresses.to_vec();
        bytes.extend((len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        prop_assert_eq!(Sum::pseudo_header(&addresses, protocol, len).fold(), naive(&bytes));
    }
}

/// The sum, word by word, with the carry brought round at once.
fn naive(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be_bytes()
}
