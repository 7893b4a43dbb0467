//! ChaCha20-Poly1305 for many packets at once: where a library works on one message, a tunnel has dozens under one key,
//! each with its own counter.
//!
//! | back-end | needs | times as fast as AWS-LC for packets of 1,440 bytes, Zen 5 |
//! |---|---|---|
//! | [`Avx512`] | AVX-512 F, BW, DQ, VL, IFMA | 1.7 alone, 2.3 in twos, 2.8 in fours, 3.0 from eight on |
//! | none | | the caller's library, packet by packet |
//!
//! What one message leaves idle is filled across packets: ChaCha20 works on thirty-two blocks side by side, whatever
//! packets they belong to, the one-time keys of Poly1305 among them (see `batch`, `chacha20`); Poly1305 takes eight
//! blocks of one packet per step, and does what is needed once per packet for eight packets together (see `poly1305`).
//! AVX2 was refused: it gains a tenth at most over AWS-LC, whose assembly uses it already.
//!
//! The nonce is four zero bytes and the counter (LE64); there is no associated data.
//!
//! # Constant time
//!
//! No branch, no address and no instruction of variable duration depends on a key, a text, a key stream, r, s or a tag
//! before the tags of a batch are all compared:
//!
//! * Lengths, the number of packets and their counters decide what is computed where; they are on the wire for anyone
//!   to see. No table is indexed with anything else.
//! * The arithmetic is vector additions, rotations, shifts, permutations with constant or length-derived indices, and
//!   multiply-adds; their duration does not depend on operands (Intel lists them under DOIT, AMD has no variable ones
//!   among them). The last reduction modulo p and the carry into the upper half of a tag are selected by masks.
//! * Tags are compared in whole vectors, eight packets side by side; up to [`MAX_BATCH`] results are one mask of bits.
//!   Only then is that mask looked at: which packets to decrypt is what the caller is about to be told, and what an
//!   observer learns from which of them are answered.
//!
//! `make dudect` looks for what the argument may have missed. Secrets are overwritten when a batch is done, except
//! what a compiler left in registers and in spills.
//!
//! Not here: which counter, replay, headers, the library that packets go to which are too few (see `proto::crypto`).
//!
//! Sources: RFC 8439.

#[cfg(target_arch = "x86_64")]
mod batch;
#[cfg(target_arch = "x86_64")]
mod chacha20;
#[cfg(target_arch = "x86_64")]
mod dispatch;
#[cfg(not(target_arch = "x86_64"))]
#[path = "elsewhere.rs"]
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod poly1305;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

pub use dispatch::Avx512;

/// Length of a tag, in bytes.
pub const TAG_LEN: usize = 16;

/// The most packets that are sealed or opened together.
pub const MAX_BATCH: usize = 16;

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// [`Avx512`], or none.
    Avx512,
    /// The library, packet by packet.
    OneByOne,
}

/// The processor has not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this processor has no AVX-512 with IFMA; `auto` takes the fastest it has")]
pub struct Unavailable;

/// Chooses for all keys made from now on; called once, at start. Returns what they will get, as [`selected`] does.
///
/// # Errors
/// [`Unavailable`]; then nothing is changed.
pub fn select(choice: Choice) -> Result<Option<Avx512>, Unavailable> {
    let backend = Avx512::detect().filter(|_| choice != Choice::OneByOne);
    if choice == Choice::Avx512 && backend.is_none() {
        return Err(Unavailable);
    }
    ONE_BY_ONE.store(choice == Choice::OneByOne, Ordering::Relaxed);
    Ok(backend)
}

/// Returns the back-end for new keys; `None` stands for the library, packet by packet.
pub fn selected() -> Option<Avx512> {
    Avx512::detect().filter(|_| !ONE_BY_ONE.load(Ordering::Relaxed))
}

/// A choice of the process, as the processor is one: handed down, it would go through every layer to each keypair.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

/// Tells whether packets of these lengths, tags included, are faster together than one by one.
///
/// A batch costs about 280 ns before its bytes count, AWS-LC 190 ns a packet. The limits are the least texts of
/// `benches/aead.rs` that gain: one of 576 bytes gains a twentieth at least, two of 64 a quarter.
pub fn pays(packets: &[&mut [u8]]) -> bool {
    match packets {
        [] => false,
        [one] => one.len() >= LEAST_ALONE,
        [one, two] => one.len() + two.len() >= LEAST_OF_TWO,
        _ => true,
    }
}

const LEAST_ALONE: usize = 576 + TAG_LEN;
const LEAST_OF_TWO: usize = 2 * (64 + TAG_LEN);

/// Returns how many packets to take at a time, [`MAX_BATCH`] at most: shares as equal as can be, so that of 2 to 128
/// packets none is left to go alone.
pub fn share(packets: usize) -> usize {
    packets.div_ceil(packets.div_ceil(MAX_BATCH).max(1)).max(1)
}

/// A key, wiped on drop.
pub struct Key {
    backend: Avx512,
    secret: Secret,
}

/// What a batch is computed with.
struct Secret {
    /// The key as the state has it: little-endian words.
    words: Zeroizing<[u32; 8]>,
    /// The first word of the nonce: 0, but in tests.
    prefix: u32,
}

impl Key {
    /// Makes the words of a key.
    pub fn new(backend: Avx512, bytes: &[u8; 32]) -> Self {
        let mut words = Zeroizing::new([0; 8]);
        let (chunks, _) = bytes.as_chunks::<4>();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u32::from_le_bytes(*chunk);
        }
        Self { backend, secret: Secret { words, prefix: 0 } }
    }

    /// Seals `packets[i]` = text, 16 bytes for the tag, in place, under `first_counter + i` (which may wrap).
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] packets, or one has no room for the tag.
    pub fn seal(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        let mut counters = [0; MAX_BATCH];
        let counters = &mut counters[..packets.len()];
        let mut next = first_counter;
        for (counter, packet) in counters.iter_mut().zip(&*packets) {
            assert!(packet.len() >= TAG_LEN, "a packet ends with room for the tag");
            *counter = next;
            next = next.wrapping_add(1);
        }
        self.backend.seal(&self.secret, counters, packets);
    }

    /// Opens `packets[i]` = ciphertext, tag, in place, under `counters[i]`. Bit `i` of what it returns is set if the tag
    /// of packet `i` is right; a packet whose tag is not is left as it was.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] packets, or not as many counters.
    pub fn open(&self, counters: &[u64], packets: &mut [&mut [u8]]) -> u16 {
        assert!(packets.len() <= MAX_BATCH && counters.len() == packets.len(), "a counter for each of 16 packets");
        self.backend.open(&self.secret, counters, packets)
    }
}
