//! Poly1305 over one packet with eight of its blocks in a register; what is done once per packet, eight packets wide.
//!
//! Numbers modulo p = 2^130 - 5 are three limbs of 44 bits, h = h0 + h1 2^44 + h2 2^88, because the multiply-add of
//! IFMA takes factors of 52 bits: eight bits are left for carries that are not yet done. 2^132 = 20 (mod p), so
//! what passes the third limb comes back into the first twentyfold.
//!
//! A packet's blocks, with zero blocks in *front* up to a multiple of eight (a leading zero coefficient changes
//! nothing), are eight interleaved polynomials in r^8. The last step multiplies lane by lane with r^8 to r^1, whose sum
//! is the polynomial in r. So packets of any lengths need no grouping.
//!
//! Bounds, as exponents of 2: limbs of a product are at most 44 and a bit, with a message added 45.2; 20 r is 48.4. A
//! low half is below 52, six of them below 54.6; a high half is below 41.7, six of them, shifted by 8 and times 20
//! where it wraps (those are below 37.3 without the factor), below 52.7. All sums are far below 64, all factors below
//! 52.
//!
//! Source: RFC 8439 section 2.5; the interleaving is that of D. J. Bernstein and P. Schwabe, "NEON crypto", 2012.

use std::arch::x86_64::*;

use super::chacha20::transpose_quarters;
use super::dispatch::{load, load_partial, wipe};

/// Packets whose once-only work is done side by side.
pub(super) const WIDTH: usize = 8;

/// Eight numbers modulo p.
type Limbs = [__m512i; 3];

/// What multiplies: its limbs, and twenty times the second and the third.
#[derive(Clone, Copy)]
struct Factor {
    limbs: Limbs,
    wrapped: [__m512i; 2],
}

/// The one-time keys of eight packets, with what follows from them. To be wiped.
pub(super) struct Keys {
    /// For each packet, in each lane, the power of r that the last step multiplies with.
    lanes: [Limbs; WIDTH],
    /// r^16 of each packet.
    sixteenth: Limbs,
    /// The numbers s, as low and high halves.
    s: [__m512i; 2],
}

impl Keys {
    /// Makes what [`Keys::derive`] fills where it lies: secrets that are moved leave a copy behind.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Self { lanes: [[zero; 3]; WIDTH], sixteenth: [zero; 3], s: [zero; 2] }
    }

    /// Takes the first 32 bytes of `blocks[p]` as the one-time key of packet `p`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn derive(&mut self, blocks: &[__m512i; WIDTH]) {
        let [low, high, s_low, s_high, ..] = transpose(blocks);
        let low = _mm512_and_si512(low, _mm512_set1_epi64(0x0fff_fffc_0fff_ffff));
        let high = _mm512_and_si512(high, _mm512_set1_epi64(0x0fff_fffc_0fff_fffc));
        let r1 = split(low, high);
        let by_r = Factor::new(r1);
        let r2 = times(r1, &by_r);
        let by_r2 = Factor::new(r2);
        let r3 = times(r1, &by_r2);
        let r4 = times(r2, &by_r2);
        let by_r4 = Factor::new(r4);
        let r5 = times(r1, &by_r4);
        let r6 = times(r2, &by_r4);
        let r7 = times(r3, &by_r4);
        let r8 = times(r4, &by_r4);
        self.sixteenth = times(r8, &Factor::new(r8));
        self.s = [s_low, s_high];
        for limb in 0..3 {
            // Block i, which gets r^(8 - i), is where `interleave` puts it.
            let powers = [r8, r4, r7, r3, r6, r2, r5, r1];
            let mut rows = [_mm512_setzero_si512(); WIDTH];
            for (row, power) in rows.iter_mut().zip(powers) {
                *row = power[limb];
            }
            let columns = transpose(&rows);
            for (lane, column) in self.lanes.iter_mut().zip(columns) {
                lane[limb] = column;
            }
        }
    }

    /// Computes the tags of the first `count` of eight messages, as low and high halves; the other lanes are meaningless.
    /// A message is a text and its block of lengths: of associated data, of text.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn tags(&self, messages: &[(&[u8], [u64; 2]); WIDTH], count: usize) -> [__m512i; 2] {
        let mut sums = [[_mm512_setzero_si512(); WIDTH]; 3];
        for (packet, (text, lengths)) in messages.iter().enumerate().take(count) {
            let sum = self.polynomial(packet, text, *lengths);
            for limb in 0..3 {
                sums[limb][packet] = sum[limb];
            }
        }
        let sums = [sum_lanes(&sums[0]), sum_lanes(&sums[1]), sum_lanes(&sums[2])];
        let [low, high] = reduce(sums);
        let tag_low = _mm512_add_epi64(low, self.s[0]);
        let carry = _mm512_cmplt_epu64_mask(tag_low, low);
        let tag_high = _mm512_add_epi64(high, self.s[1]);
        [tag_low, _mm512_mask_add_epi64(tag_high, carry, tag_high, _mm512_set1_epi64(1))]
    }

    /// Overwrites the secrets.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn wipe(&mut self) {
        wipe(self.lanes.as_flattened_mut());
        wipe(&mut self.sixteenth);
        wipe(&mut self.s);
    }

    /// Evaluates the polynomial of `text` (padded with zeros to blocks) and the block of lengths. The result is the sum of the lanes, its carries still to be done, each limb below 2^56.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn polynomial(&self, packet: usize, text: &[u8], lengths: [u64; 2]) -> Limbs {
        let last = Factor::new(self.lanes[packet]);
        let by_8 = last.first_lane();
        let by_16 = Factor::new(broadcast_lane(self.sixteenth, packet));

        let blocks = text.len().div_ceil(16) + 1;
        let steps = blocks.div_ceil(8);
        let zeros = 8 * steps - blocks;
        if steps == 1 {
            let mut product = Product::default();
            product.add(message(last_step(text, zeros, lengths), FRONT[zeros]), &last);
            return product.fold();
        }
        let (head, rest) = text.split_at(128 - 16 * zeros);
        let first = message(first_step(head), FRONT[zeros]);
        let (whole, tail) = rest.split_at((steps - 2) * 128);
        let (chunks, _) = whole.as_chunks::<128>();
        let (pairs, single) = chunks.as_chunks::<2>();

        let mut h = first;
        for pair in pairs {
            // ((h r^8) + m0) r^8 + m1, where h has its message already: two products with one carry.
            let mut product = Product::default();
            product.add(step(&pair[0]), &by_8);
            product.add(h, &by_16);
            h = plus(product.carried(), step(&pair[1]));
        }
        for chunk in single {
            let mut product = Product::default();
            product.add(h, &by_8);
            h = plus(product.carried(), step(chunk));
        }
        let mut product = Product::default();
        product.add(h, &by_8);
        h = plus(product.carried(), message(last_step(tail, 0, lengths), u8::MAX));
        let mut product = Product::default();
        product.add(h, &last);
        product.fold()
    }
}

impl Factor {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn new(limbs: Limbs) -> Self {
        Self { limbs, wrapped: [times_20(limbs[1]), times_20(limbs[2])] }
    }

    /// Returns the first lane in every lane.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn first_lane(&self) -> Self {
        let [a, b, c] = self.limbs;
        let [d, e] = self.wrapped;
        Self { limbs: [first_lane(a), first_lane(b), first_lane(c)], wrapped: [first_lane(d), first_lane(e)] }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn first_lane(vector: __m512i) -> __m512i {
    _mm512_broadcastq_epi64(_mm512_castsi512_si128(vector))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn broadcast_lane(limbs: Limbs, lane: usize) -> Limbs {
    let idx = _mm512_set1_epi64(lane as i64);
    let [a, b, c] = limbs;
    [_mm512_permutexvar_epi64(idx, a), _mm512_permutexvar_epi64(idx, b), _mm512_permutexvar_epi64(idx, c)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn times_20(vector: __m512i) -> __m512i {
    _mm512_madd52lo_epu64(_mm512_setzero_si512(), vector, _mm512_set1_epi64(20))
}

/// Sums of the low and of the high 52 bits of products, by limb.
struct Product {
    low: Limbs,
    high: Limbs,
}

impl Product {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn default() -> Self {
        Self { low: [_mm512_setzero_si512(); 3], high: [_mm512_setzero_si512(); 3] }
    }

    /// Adds `h` times `factor`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn add(&mut self, h: Limbs, factor: &Factor) {
        let [r0, r1, r2] = factor.limbs;
        let [s1, s2] = factor.wrapped;
        // Row i multiplies limb i of h; what would be limb 3 or 4 comes back into limb 0 or 1.
        let rows = [[r0, r1, r2], [s2, r0, r1], [s1, s2, r0]];
        for (h, row) in h.into_iter().zip(rows) {
            for (limb, factor) in row.into_iter().enumerate() {
                self.low[limb] = _mm512_madd52lo_epu64(self.low[limb], h, factor);
                self.high[limb] = _mm512_madd52hi_epu64(self.high[limb], h, factor);
            }
        }
    }

    /// Adds the high halves, which are worth 2^52 = 2^44 2^8, to the limb above.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn fold(&self) -> Limbs {
        [
            _mm512_madd52lo_epu64(self.low[0], self.high[2], _mm512_set1_epi64(20 << 8)),
            _mm512_add_epi64(self.low[1], _mm512_slli_epi64::<8>(self.high[0])),
            _mm512_add_epi64(self.low[2], _mm512_slli_epi64::<8>(self.high[1])),
        ]
    }

    /// Returns the limbs with their carries done, but for a bit in the second.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    fn carried(&self) -> Limbs {
        let mask = _mm512_set1_epi64(MASK_44);
        let d0 = self.low[0];
        let d1 = _mm512_add_epi64(self.low[1], _mm512_slli_epi64::<8>(self.high[0]));
        let d2 = _mm512_add_epi64(self.low[2], _mm512_slli_epi64::<8>(self.high[1]));
        let d1 = _mm512_add_epi64(d1, _mm512_srli_epi64::<44>(d0));
        let d2 = _mm512_add_epi64(d2, _mm512_srli_epi64::<44>(d1));
        let over = _mm512_add_epi64(_mm512_slli_epi64::<8>(self.high[2]), _mm512_srli_epi64::<44>(d2));
        let d0 = _mm512_madd52lo_epu64(_mm512_and_si512(d0, mask), over, _mm512_set1_epi64(20));
        let d1 = _mm512_add_epi64(_mm512_and_si512(d1, mask), _mm512_srli_epi64::<44>(d0));
        [_mm512_and_si512(d0, mask), d1, _mm512_and_si512(d2, mask)]
    }
}

const MASK_44: i64 = (1 << 44) - 1;
const MASK_42: i64 = (1 << 42) - 1;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn times(h: Limbs, factor: &Factor) -> Limbs {
    let mut product = Product::default();
    product.add(h, factor);
    product.carried()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn plus(a: Limbs, b: Limbs) -> Limbs {
    [_mm512_add_epi64(a[0], b[0]), _mm512_add_epi64(a[1], b[1]), _mm512_add_epi64(a[2], b[2])]
}

/// Splits eight numbers of 128 bits into limbs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn split(low: __m512i, high: __m512i) -> Limbs {
    let mask = _mm512_set1_epi64(MASK_44);
    let middle = _mm512_or_si512(_mm512_srli_epi64::<44>(low), _mm512_slli_epi64::<20>(high));
    [_mm512_and_si512(low, mask), _mm512_and_si512(middle, mask), _mm512_srli_epi64::<24>(high)]
}

/// Which lanes are real when so many zero blocks stand in front: blocks 0 to 3 are in the even lanes, 4 to 7 in the odd.
const FRONT: [u8; 8] =
    [0b1111_1111, 0b1111_1110, 0b1111_1010, 0b1110_1010, 0b1010_1010, 0b1010_1000, 0b1010_0000, 0b1000_0000];

/// Makes eight message blocks limbs; those in `real` lanes get the bit above their 128.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn message(vectors: [__m512i; 2], real: u8) -> Limbs {
    let [a, b] = vectors;
    // Interleaved: blocks 0 4 1 5 2 6 3 7.
    let [low, middle, high] = split(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    [low, middle, _mm512_mask_or_epi64(high, real, high, _mm512_set1_epi64(1 << 40))]
}

/// Reads eight whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn step(chunk: &[u8; 128]) -> Limbs {
    let (halves, _) = chunk.as_chunks::<64>();
    message([load(&halves[0]), load(&halves[1])], u8::MAX)
}

/// Reads up to eight whole blocks and puts zero blocks in front.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn first_step(head: &[u8]) -> [__m512i; 2] {
    let split = head.len().saturating_sub(64);
    let (a, b) = head.split_at(split);
    [at_end(load_partial(a), a.len()), at_end(load_partial(b), b.len())]
}

/// Reads the last blocks of a text, the last padded with zeros, and appends the block of lengths: seven blocks with
/// `zeros` of them in front.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn last_step(tail: &[u8], zeros: usize, lengths: [u64; 2]) -> [__m512i; 2] {
    let (a, b) = tail.split_at(tail.len().min(64_usize.saturating_sub(16 * zeros)));
    let a = if zeros < 4 { move_up(load_partial(a), zeros) } else { _mm512_setzero_si512() };
    let b = move_up(load_partial(b), zeros.saturating_sub(4));
    let b = _mm512_mask_set1_epi64(b, 0b0100_0000, lengths[0] as i64);
    [a, _mm512_mask_set1_epi64(b, 0b1000_0000, lengths[1] as i64)]
}

/// Moves `len` bytes, a multiple of 16, from the start of a vector to its end.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn at_end(vector: __m512i, len: usize) -> __m512i {
    move_up(vector, 4 - len / 16)
}

/// Moves a vector up by 0 to 4 blocks; zeros follow.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn move_up(vector: __m512i, blocks: usize) -> __m512i {
    _mm512_maskz_expand_epi64((0xff_u32 << (2 * blocks)) as u8, vector)
}

/// Sums the lanes of `rows[n]` into lane n.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn sum_lanes(rows: &[__m512i; WIDTH]) -> __m512i {
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let mut twos = [_mm512_setzero_si512(); 4];
    let (pairs, _) = rows.as_chunks::<2>();
    for (two, [a, b]) in twos.iter_mut().zip(pairs) {
        *two = _mm512_add_epi64(_mm512_unpacklo_epi64(*a, *b), _mm512_unpackhi_epi64(*a, *b));
    }
    let [a, b, c, d] = twos;
    let first = _mm512_add_epi64(_mm512_shuffle_i64x2::<EVEN>(a, b), _mm512_shuffle_i64x2::<ODD>(a, b));
    let second = _mm512_add_epi64(_mm512_shuffle_i64x2::<EVEN>(c, d), _mm512_shuffle_i64x2::<ODD>(c, d));
    _mm512_add_epi64(_mm512_shuffle_i64x2::<EVEN>(first, second), _mm512_shuffle_i64x2::<ODD>(first, second))
}

/// Reduces eight numbers, limbs up to 2^60, to below p and returns their low 128 bits in halves.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn reduce(limbs: Limbs) -> [__m512i; 2] {
    let mask_44 = _mm512_set1_epi64(MASK_44);
    let mask_42 = _mm512_set1_epi64(MASK_42);
    let [mut h0, mut h1, mut h2] = limbs;
    // 2^130 = 5. The first round leaves less than 2^130 + 2^64, the second less than 2^130.
    for _ in 0..2 {
        h1 = _mm512_add_epi64(h1, _mm512_srli_epi64::<44>(h0));
        h2 = _mm512_add_epi64(h2, _mm512_srli_epi64::<44>(h1));
        let over = _mm512_srli_epi64::<42>(h2);
        h0 = _mm512_and_si512(h0, mask_44);
        h1 = _mm512_and_si512(h1, mask_44);
        h2 = _mm512_and_si512(h2, mask_42);
        h0 = _mm512_add_epi64(h0, _mm512_add_epi64(over, _mm512_slli_epi64::<2>(over)));
    }
    h1 = _mm512_add_epi64(h1, _mm512_srli_epi64::<44>(h0));
    h0 = _mm512_and_si512(h0, mask_44);
    // h >= p exactly if h + 5 >= 2^130, and then h - p is the rest of that.
    let g0 = _mm512_add_epi64(h0, _mm512_set1_epi64(5));
    let g1 = _mm512_add_epi64(h1, _mm512_srli_epi64::<44>(g0));
    let g2 = _mm512_add_epi64(h2, _mm512_srli_epi64::<44>(g1));
    let above = _mm512_cmpgt_epu64_mask(g2, mask_42);
    h0 = _mm512_mask_and_epi64(h0, above, g0, mask_44);
    h1 = _mm512_mask_and_epi64(h1, above, g1, mask_44);
    h2 = _mm512_mask_and_epi64(h2, above, g2, mask_42);
    [
        _mm512_or_si512(h0, _mm512_slli_epi64::<44>(h1)),
        _mm512_or_si512(_mm512_srli_epi64::<20>(h1), _mm512_slli_epi64::<24>(h2)),
    ]
}

/// Transposes eight by eight numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn transpose(rows: &[__m512i; WIDTH]) -> [__m512i; WIDTH] {
    let [a, b, c, d, e, f, g, h] = *rows;
    let even = transpose_quarters([
        _mm512_unpacklo_epi64(a, b),
        _mm512_unpacklo_epi64(c, d),
        _mm512_unpacklo_epi64(e, f),
        _mm512_unpacklo_epi64(g, h),
    ]);
    let odd = transpose_quarters([
        _mm512_unpackhi_epi64(a, b),
        _mm512_unpackhi_epi64(c, d),
        _mm512_unpackhi_epi64(e, f),
        _mm512_unpackhi_epi64(g, h),
    ]);
    [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
}
