//! Up to sixteen packets at once: which key stream block is computed where.
//!
//! ```text
//! group 0   key 0 | key 1 | ... | key n-1 | packet 0 block 1 | packet 0 block 2 | ...
//! group 1   ... | packet 0 block 23 | packet 1 block 1 | ...
//! ```
//! First stand the blocks 0 of all packets, their one-time keys, which opening needs before anything else; then, without
//! a gap, the text blocks of one packet after the other. Only the last group may have idle lanes.
//!
//! Not here: batches of other sizes and whether it pays (see the module above).

use std::arch::x86_64::*;

use super::chacha20::{self, LANES, Lanes};
use super::dispatch::{from_words, load, load_partial, store, store_partial, to_words, wipe};
use super::poly1305::{Keys, WIDTH};
use super::{Secret, TAG_LEN};

// A packet's one-time key takes one lane of the first group.
const _: () = assert!(super::MAX_BATCH <= LANES && LANES == 2 * WIDTH);

/// Seals `packets[i]` = text, room for the tag, under `counters[i]`; as many as
/// [`super::MAX_BATCH`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub(super) fn seal(secret: &Secret, counters: &[u64], packets: &mut [&mut [u8]]) {
    let mut stream = Stream::new(secret, counters);
    stream.start(packets);
    while stream.apply(packets, u16::MAX) {}
    stream.for_each_eight(packets, |packets, [low, high]| {
        for ((packet, low), high) in packets.iter_mut().zip(to_words(low)).zip(to_words(high)) {
            if let Some((_, tag)) = packet.split_last_chunk_mut::<TAG_LEN>() {
                *tag = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
            }
        }
    });
    stream.wipe();
}

/// Opens `packets[i]` = ciphertext, tag, under `counters[i]`; as many as
/// [`super::MAX_BATCH`]. Returns a bit for each: 1 if the
/// tag is right. Those of which it is not keep their ciphertext.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub(super) fn open(secret: &Secret, counters: &[u64], packets: &mut [&mut [u8]]) -> u16 {
    let mut stream = Stream::new(secret, counters);
    stream.start(packets);
    let (mut good, mut first) = (0, 0);
    stream.for_each_eight(packets, |packets, [low, high]| {
        let (mut expected_low, mut expected_high, mut long_enough) = ([0; WIDTH], [0; WIDTH], 0);
        for (n, packet) in packets.iter().enumerate() {
            if let Some(tag) = packet.last_chunk::<TAG_LEN>() {
                let tag = u128::from_le_bytes(*tag);
                expected_low[n] = tag as u64;
                expected_high[n] = (tag >> 64) as u64;
                long_enough |= 1_u16 << n;
            }
        }
        let low = _mm512_xor_si512(low, from_words(expected_low));
        let high = _mm512_xor_si512(high, from_words(expected_high));
        let same = _mm512_testn_epi64_mask(_mm512_or_si512(low, high), _mm512_set1_epi64(-1));
        good |= (u16::from(same) & long_enough) << first;
        first += WIDTH;
    });
    // All tags are compared: from here on, which are right is no secret.
    while stream.apply(packets, good) {}
    stream.wipe();
    good
}

/// Seals one packet with associated data, which the protocol has not and test vectors have.
#[cfg(test)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub(super) fn seal_with(secret: &Secret, counter: u64, associated: &[u8], packet: &mut [u8]) {
    let (mut packets, counters) = ([packet], [counter]);
    let mut stream = Stream::new(secret, &counters);
    stream.start(&packets);
    while stream.apply(&mut packets, u16::MAX) {}
    let [packet] = packets;
    let (text, tag) = packet.split_last_chunk_mut::<TAG_LEN>().expect("room for the tag");
    let mut authenticated = associated.to_vec();
    authenticated.resize(associated.len().next_multiple_of(16), 0);
    authenticated.extend_from_slice(text);
    let lengths = [associated.len() as u64, text.len() as u64];
    let mut keys = Keys::zero();
    keys.derive(&stream.keys[0]);
    let [low, high] = keys.tags(&[(&authenticated, lengths); WIDTH], 1);
    *tag = (u128::from(to_words(low)[0]) | u128::from(to_words(high)[0]) << 64).to_le_bytes();
}

/// The key stream of a batch, group by group.
struct Stream<'a> {
    secret: &'a Secret,
    counters: &'a [u64],
    /// The one-time keys of the packets, first half and second.
    keys: [[__m512i; WIDTH]; 2],
    /// The blocks of one group or two.
    blocks: [[__m512i; LANES]; 2],
    /// How many there are.
    count: usize,
    /// The lane of `blocks` that comes next.
    lane: usize,
    /// Which text block that is.
    next: Position,
    /// Which text block the next group begins with.
    filled: Position,
}

/// A text block of a batch.
#[derive(Clone, Copy)]
struct Position {
    packet: usize,
    /// From 0; the key stream block is one more.
    block: usize,
}

impl<'a> Stream<'a> {
    /// Makes what [`Stream::start`] fills where it lies: secrets that are moved leave a copy behind.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn new(secret: &'a Secret, counters: &'a [u64]) -> Self {
        let start = Position { packet: 0, block: 0 };
        let zero = _mm512_setzero_si512();
        let (keys, blocks) = ([[zero; WIDTH]; 2], [[zero; LANES]; 2]);
        Self { secret, counters, keys, blocks, count: 0, lane: 0, next: start, filled: start }
    }

    /// Computes the first group or two.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn start(&mut self, packets: &[&mut [u8]]) {
        let mut lanes = Lanes::idle();
        for (n, counter) in self.counters.iter().enumerate() {
            lanes.assign(1 << n, -(n as i32), *counter);
        }
        self.compute(lanes, packets.len(), packets);
        self.keys.as_flattened_mut().copy_from_slice(&self.blocks[0]);
    }

    /// Computes the tags of the texts, eight packets at a time, and hands both over.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn for_each_eight(&self, packets: &mut [&mut [u8]], mut each: impl FnMut(&mut [&mut [u8]], [__m512i; 2])) {
        for (packets, blocks) in packets.chunks_mut(WIDTH).zip(&self.keys) {
            let mut keys = Keys::zero();
            keys.derive(blocks);
            let mut messages: [(&[u8], [u64; 2]); WIDTH] = [(&[], [0; 2]); WIDTH];
            for (message, packet) in messages.iter_mut().zip(packets.iter()) {
                let len = text_len(packet);
                *message = (&packet[..len], [0, len as u64]);
            }
            let tags = keys.tags(&messages, packets.len());
            keys.wipe();
            each(packets, tags);
        }
    }

    /// Applies what is left of the group to the packets whose bit is set, then computes the next group; returns
    /// `false` if there is none.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn apply(&mut self, packets: &mut [&mut [u8]], wanted: u16) -> bool {
        while self.lane < self.count && self.next.packet < packets.len() {
            let packet = &mut *packets[self.next.packet];
            let len = text_len(packet);
            let left = len.div_ceil(64) - self.next.block;
            let run = left.min(self.count - self.lane);
            if wanted >> self.next.packet & 1 == 1 {
                let text = &mut packet[64 * self.next.block..len.min(64 * (self.next.block + run))];
                xor(text, &self.blocks.as_flattened()[self.lane..]);
            }
            self.lane += run;
            self.next.block += run;
            if run == left {
                self.next = Position { packet: self.next.packet + 1, block: 0 };
            }
        }
        if self.filled.packet == packets.len() {
            return false;
        }
        self.compute(Lanes::idle(), 0, packets);
        true
    }

    /// Computes the next group, of which the lanes before `lane` are taken, and the one after it if there is any.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    fn compute(&mut self, mut lanes: Lanes, lane: usize, packets: &[&mut [u8]]) {
        self.filled = fill(&mut lanes, lane, self.filled, self.counters, packets);
        if self.filled.packet == packets.len() {
            chacha20::blocks(self.secret, &lanes, &mut self.blocks[0]);
            self.count = LANES;
        } else {
            let mut more = Lanes::idle();
            self.filled = fill(&mut more, 0, self.filled, self.counters, packets);
            chacha20::blocks_2(self.secret, &[lanes, more], &mut self.blocks);
            self.count = 2 * LANES;
        }
        self.lane = lane;
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn wipe(&mut self) {
        wipe(self.keys.as_flattened_mut());
        wipe(self.blocks.as_flattened_mut());
    }
}

/// Assigns lanes from `lane` on to the text blocks from `position` on; returns the position of the first that found none.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn fill(
    lanes: &mut Lanes,
    mut lane: usize,
    mut position: Position,
    counters: &[u64],
    packets: &[&mut [u8]],
) -> Position {
    while position.packet < packets.len() {
        let left = text_len(packets[position.packet]).div_ceil(64) - position.block;
        let run = left.min(LANES - lane);
        let mask = (((1_u32 << run) - 1) << lane) as u16;
        // Lane `lane` gets the block after block 0 and those before `position`.
        lanes.assign(mask, position.block as i32 + 1 - lane as i32, counters[position.packet]);
        lane += run;
        position.block += run;
        if run < left {
            break;
        }
        position = Position { packet: position.packet + 1, block: 0 };
    }
    position
}

/// Adds the key stream to a text; the last block may be partial.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn xor(text: &mut [u8], stream: &[__m512i]) {
    let (whole, tail) = text.as_chunks_mut::<64>();
    for (chunk, block) in whole.iter_mut().zip(stream) {
        let sum = _mm512_xor_si512(load(chunk), *block);
        store(chunk, sum);
    }
    if let (false, Some(block)) = (tail.is_empty(), stream.get(whole.len())) {
        let sum = _mm512_xor_si512(load_partial(tail), *block);
        store_partial(tail, sum);
    }
}

/// The length of what precedes the tag; 0 for what is too short to have one.
#[inline]
fn text_len(packet: &[u8]) -> usize {
    packet.len().saturating_sub(TAG_LEN)
}
