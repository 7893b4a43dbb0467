//! The way into functions that need instructions not every processor has, and the few operations on memory that the
//! standard library offers for pointers alone.
//!
//! The one file of this room with `unsafe`. Three arguments carry it:
//!
//! 1. **A call of a `#[target_feature]` function** is sound if the processor has the features. An [`Avx512`] is made by
//!    [`Avx512::detect`] alone, after it has seen each of them, and a processor does not lose features.
//! 2. **A vector and 64 bytes are the same thing**: every pattern of bits is a value of either, both are 64 bytes long,
//!    and `transmute` moves values, so that alignment is the compiler's matter.
//! 3. **A masked load or store touches the bytes whose mask bits are set, and no other** (Intel SDM volume 1, 15.6.1.1:
//!    faults of masked-out elements are suppressed), and the mask has one bit for each byte of the slice.
//!
//! Not here: what the vectors mean (see `chacha20`, `poly1305`).

#![allow(unsafe_code)]

use std::arch::x86_64::*;

#[cfg(test)]
use super::poly1305;
use super::{Secret, batch};

/// Proof that this processor has AVX-512 with integer fused multiply-add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// Asks the processor; the operating system must save the registers, too.
    pub fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        all.then_some(Self(()))
    }

    /// See [`batch::seal`].
    pub(super) fn seal(self, secret: &Secret, counters: &[u64], packets: &mut [&mut [u8]]) {
        // SAFETY: `self` is proof of every feature that `seal` names: argument 1.
        unsafe { batch::seal(secret, counters, packets) }
    }

    /// See [`batch::open`].
    pub(super) fn open(self, secret: &Secret, counters: &[u64], packets: &mut [&mut [u8]]) -> u16 {
        // SAFETY: `self` is proof of every feature that `open` names: argument 1.
        unsafe { batch::open(secret, counters, packets) }
    }
}

#[cfg(test)]
impl Avx512 {
    /// See [`batch::seal_with`].
    pub(super) fn seal_with(self, secret: &Secret, counter: u64, associated: &[u8], packet: &mut [u8]) {
        // SAFETY: `self` is proof of every feature that `seal_with` names: argument 1.
        unsafe { batch::seal_with(secret, counter, associated, packet) }
    }

    /// See [`poly1305::reduce`]: eight numbers by limb; the results' low and high halves.
    pub(super) fn reduce(self, limbs: [[u64; 8]; 3]) -> [[u64; 8]; 2] {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
        fn reduce(limbs: [[u64; 8]; 3]) -> [[u64; 8]; 2] {
            let [a, b, c] = limbs;
            let [low, high] = poly1305::reduce([from_words(a), from_words(b), from_words(c)]);
            [to_words(low), to_words(high)]
        }
        // SAFETY: `self` is proof of every feature that `reduce` names: argument 1.
        unsafe { reduce(limbs) }
    }
}

/// Reads 64 bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: argument 2.
    unsafe { std::mem::transmute(*bytes) }
}

/// Writes 64 bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn store(bytes: &mut [u8; 64], vector: __m512i) {
    // SAFETY: argument 2.
    *bytes = unsafe { std::mem::transmute::<__m512i, [u8; 64]>(vector) };
}

/// Reads the first 64 of `bytes`; zeros follow if there are fewer.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn load_partial(bytes: &[u8]) -> __m512i {
    // SAFETY: argument 3, for a mask of at most 64 bits.
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes.len()), bytes.as_ptr().cast()) }
}

/// Writes the first bytes of `vector` over all of `bytes`, or over the first 64.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn store_partial(bytes: &mut [u8], vector: __m512i) {
    // SAFETY: argument 3, for a mask of at most 64 bits.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask(bytes.len()), vector) }
}

/// Returns a mask with the lowest `len` bits set, or all 64.
#[inline]
fn mask(len: usize) -> u64 {
    if len >= 64 { u64::MAX } else { (1 << len) - 1 }
}

/// Returns the eight numbers of a vector.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn to_words(vector: __m512i) -> [u64; 8] {
    // SAFETY: argument 2: eight words are 64 bytes.
    unsafe { std::mem::transmute(vector) }
}

/// Makes a vector of eight numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn from_words(words: [u64; 8]) -> __m512i {
    // SAFETY: argument 2: eight words are 64 bytes.
    unsafe { std::mem::transmute(words) }
}

/// Overwrites secrets with zeros, by stores the compiler may not leave out.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
pub(super) fn wipe(vectors: &mut [__m512i]) {
    let zero = _mm512_setzero_si512();
    for vector in vectors {
        // SAFETY: a reference is valid for a write of what it refers to.
        unsafe { std::ptr::write_volatile(vector, zero) };
    }
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}
