//! ChaCha20: sixteen key stream blocks at once, each of its own packet and position.
//!
//! Register `i` holds word `i` of sixteen states, so that a round is plain vector arithmetic whatever the blocks belong
//! to; the transposition at its end makes a register of each block.
//!
//! Source: RFC 8439 section 2.3.

use std::arch::x86_64::*;

use super::Secret;

/// Blocks in one group.
pub(super) const LANES: usize = 16;

/// What tells the sixteen blocks of a group apart: state words 12, 14 and 15.
pub(super) struct Lanes {
    /// The number of the block in its packet.
    pub(super) block: __m512i,
    /// The low half of the packet's counter.
    pub(super) low: __m512i,
    /// The high half.
    pub(super) high: __m512i,
}

impl Lanes {
    /// Returns lanes that belong to no packet.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn idle() -> Self {
        let zero = _mm512_setzero_si512();
        Self { block: zero, low: zero, high: zero }
    }

    /// Gives the lanes in `mask` to a packet; lane n to block `first` + n.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn assign(&mut self, mask: u16, first: i32, counter: u64) {
        let numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        self.block = _mm512_mask_add_epi32(self.block, mask, numbers, _mm512_set1_epi32(first));
        self.low = _mm512_mask_set1_epi32(self.low, mask, counter as i32);
        self.high = _mm512_mask_set1_epi32(self.high, mask, (counter >> 32) as i32);
    }
}

/// A column round and a diagonal round of each state. A macro, because only indices that are literals keep the state in
/// registers.
macro_rules! double_round {
    ($($state:ident),+) => {
        quarter_rounds!([$($state),+] [0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]);
        quarter_rounds!([$($state),+] [0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]);
    };
}

/// Four quarter rounds of each state, step by step side by side: the steps of one wait for each other.
macro_rules! quarter_rounds {
    ($states:tt $([$a:literal $b:literal $c:literal $d:literal])+) => {
        add_xor_rotate!($states 16 $([$a $b $d])+);
        add_xor_rotate!($states 12 $([$c $d $b])+);
        add_xor_rotate!($states 8 $([$a $b $d])+);
        add_xor_rotate!($states 7 $([$c $d $b])+);
    };
}

macro_rules! add_xor_rotate {
    ([$($state:ident),+] $by:literal $columns:tt $second:tt $third:tt $fourth:tt) => {
        $(add_xor_rotate!(@ $state $by $columns $second $third $fourth);)+
    };
    (@ $state:ident $by:literal $([$sum:literal $other:literal $rotated:literal])+) => {
        $($state[$sum] = _mm512_add_epi32($state[$sum], $state[$other]);)+
        $($state[$rotated] = _mm512_xor_si512($state[$rotated], $state[$sum]);)+
        $($state[$rotated] = _mm512_rol_epi32::<$by>($state[$rotated]);)+
    };
}

/// Computes the key stream blocks of one group.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn blocks(secret: &Secret, lanes: &Lanes, out: &mut [__m512i; LANES]) {
    let start = start(secret, lanes);
    let mut state = start;
    for _ in 0..10 {
        double_round!(state);
    }
    transpose(plus(state, start), out);
}

/// Computes the key stream blocks of two groups side by side: the thirty-two states are all there are registers for, and
/// an instruction has seven others to run beside while it waits for the one before it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn blocks_2(secret: &Secret, lanes: &[Lanes; 2], out: &mut [[__m512i; LANES]; 2]) {
    let first_start = start(secret, &lanes[0]);
    let second_start = start(secret, &lanes[1]);
    let mut first = first_start;
    let mut second = second_start;
    for _ in 0..10 {
        double_round!(first, second);
    }
    transpose(plus(first, first_start), &mut out[0]);
    transpose(plus(second, second_start), &mut out[1]);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn start(secret: &Secret, lanes: &Lanes) -> [__m512i; LANES] {
    let mut state = [_mm512_setzero_si512(); LANES];
    for (word, value) in state.iter_mut().zip(CONSTANTS.iter().chain(&*secret.words)) {
        *word = _mm512_set1_epi32(*value as i32);
    }
    state[12] = lanes.block;
    state[13] = _mm512_set1_epi32(secret.prefix as i32);
    state[14] = lanes.low;
    state[15] = lanes.high;
    state
}

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn plus(mut state: [__m512i; LANES], start: [__m512i; LANES]) -> [__m512i; LANES] {
    for (word, start) in state.iter_mut().zip(start) {
        *word = _mm512_add_epi32(*word, start);
    }
    state
}

/// Makes of `words[i]`, which has word `i` of every block, `blocks[b]`, which has every word of block `b`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn transpose(words: [__m512i; LANES], blocks: &mut [__m512i; LANES]) {
    // `fours[k][q]`: in quarter l the words 4q to 4q + 3 of block 4l + k.
    let mut fours = [[_mm512_setzero_si512(); 4]; 4];
    for q in 0..4 {
        let low = _mm512_unpacklo_epi32(words[4 * q], words[4 * q + 1]);
        let high = _mm512_unpackhi_epi32(words[4 * q], words[4 * q + 1]);
        let next_low = _mm512_unpacklo_epi32(words[4 * q + 2], words[4 * q + 3]);
        let next_high = _mm512_unpackhi_epi32(words[4 * q + 2], words[4 * q + 3]);
        fours[0][q] = _mm512_unpacklo_epi64(low, next_low);
        fours[1][q] = _mm512_unpackhi_epi64(low, next_low);
        fours[2][q] = _mm512_unpacklo_epi64(high, next_high);
        fours[3][q] = _mm512_unpackhi_epi64(high, next_high);
    }
    for (k, rows) in fours.into_iter().enumerate() {
        for (l, quarter) in transpose_quarters(rows).into_iter().enumerate() {
            blocks[4 * l + k] = quarter;
        }
    }
}

/// Transposes four by four quarters of a vector.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn transpose_quarters(rows: [__m512i; 4]) -> [__m512i; 4] {
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let [a, b, c, d] = rows;
    let (even, odd) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b));
    let (next_even, next_odd) = (_mm512_shuffle_i32x4::<EVEN>(c, d), _mm512_shuffle_i32x4::<ODD>(c, d));
    [
        _mm512_shuffle_i32x4::<EVEN>(even, next_even),
        _mm512_shuffle_i32x4::<EVEN>(odd, next_odd),
        _mm512_shuffle_i32x4::<ODD>(even, next_even),
        _mm512_shuffle_i32x4::<ODD>(odd, next_odd),
    ]
}
