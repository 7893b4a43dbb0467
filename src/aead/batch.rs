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

use super::TAG_LEN;
use super::chacha20::{self, LANES, Lanes};
use super::dispatch::{from_words, load, load_partial, store, store_partial, to_words, wipe};
use super::poly1305::{Keys, WIDTH};

/// The most packets of a batch.
pub(super) const MAX: usize = LANES;

/// Seals `packets[i]` = text, room for the tag, under `counters[i]`; at most [`MAX`] of them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub(super) fn seal(key: &[u32; 8], counters: &[u64], packets: &mut [&mut [u8]]) {
    let mut stream = Stream::new(key, counters, packets);
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

/// Opens `packets[i]` = ciphertext, tag, under `counters[i]`; at most [`MAX`] of them. Returns a bit for each: 1 if the
/// tag is right. Those of which it is not keep their ciphertext.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub(super) fn open(key: &[u32; 8], counters: &[u64], packets: &mut [&mut [u8]]) -> u16 {
    let mut stream = Stream::new(key, counters, packets);
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

/// The key stream of a batch, group by group.
struct Stream<'a> {
    key: &'a [u32; 8],
    counters: &'a [u64],
    /// The one-time keys of the packets, first half and second.
    keys: [[__m512i; WIDTH]; 2],
    /// The text blocks of one group.
    blocks: [__m512i; LANES],
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
    /// Computes the first group.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn new(key: &'a [u32; 8], counters: &'a [u64], packets: &[&mut [u8]]) -> Self {
        let zero = _mm512_setzero_si512();
        let start = Position { packet: 0, block: 0 };
        let mut lanes = Lanes { block: zero, low: zero, high: zero };
        for (n, counter) in counters.iter().enumerate() {
            lanes.low = _mm512_mask_set1_epi32(lanes.low, 1 << n, *counter as i32);
            lanes.high = _mm512_mask_set1_epi32(lanes.high, 1 << n, (*counter >> 32) as i32);
        }
        let filled = fill(&mut lanes, packets.len(), start, counters, packets);
        let blocks = chacha20::blocks(key, &lanes);
        let (halves, _) = blocks.as_chunks::<WIDTH>();
        Self { key, counters, keys: [halves[0], halves[1]], blocks, lane: packets.len(), next: start, filled }
    }

    /// Computes the tags of the texts, eight packets at a time, and hands both over.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn for_each_eight(&self, packets: &mut [&mut [u8]], mut each: impl FnMut(&mut [&mut [u8]], [__m512i; 2])) {
        for (packets, blocks) in packets.chunks_mut(WIDTH).zip(&self.keys) {
            let mut keys = Keys::new(blocks);
            let mut texts: [&[u8]; WIDTH] = [&[]; WIDTH];
            for (text, packet) in texts.iter_mut().zip(packets.iter()) {
                *text = &packet[..text_len(packet)];
            }
            let tags = keys.tags(&texts, packets.len());
            keys.wipe();
            each(packets, tags);
        }
    }

    /// Applies what is left of the group to the packets whose bit is set, then computes the next group; returns
    /// `false` if there is none.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn apply(&mut self, packets: &mut [&mut [u8]], wanted: u16) -> bool {
        while self.lane < LANES && self.next.packet < packets.len() {
            let packet = &mut *packets[self.next.packet];
            let len = text_len(packet);
            let left = len.div_ceil(64) - self.next.block;
            let run = left.min(LANES - self.lane);
            if wanted >> self.next.packet & 1 == 1 {
                let text = &mut packet[64 * self.next.block..len.min(64 * (self.next.block + run))];
                xor(text, &self.blocks[self.lane..]);
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
        let zero = _mm512_setzero_si512();
        let mut lanes = Lanes { block: zero, low: zero, high: zero };
        self.filled = fill(&mut lanes, 0, self.filled, self.counters, packets);
        self.blocks = chacha20::blocks(self.key, &lanes);
        self.lane = 0;
        true
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn wipe(&mut self) {
        wipe(self.keys.as_flattened_mut());
        wipe(&mut self.blocks);
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
    let lane_numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    while position.packet < packets.len() {
        let left = text_len(packets[position.packet]).div_ceil(64) - position.block;
        let run = left.min(LANES - lane);
        let mask = (((1_u32 << run) - 1) << lane) as u16;
        let counter = counters[position.packet];
        let first = position.block as i32 + 1 - lane as i32;
        lanes.block = _mm512_mask_add_epi32(lanes.block, mask, lane_numbers, _mm512_set1_epi32(first));
        lanes.low = _mm512_mask_set1_epi32(lanes.low, mask, counter as i32);
        lanes.high = _mm512_mask_set1_epi32(lanes.high, mask, (counter >> 32) as i32);
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
