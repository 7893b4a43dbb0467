//! ChaCha20-Poly1305 for many packets at once.
//!
//! | back-end | needs | a packet of 1,440 bytes in a batch |
//! |---|---|---|
//! | [`Avx512`] | AVX-512 F, BW, DQ, VL and IFMA | |

#[cfg(target_arch = "x86_64")]
mod batch;
#[cfg(target_arch = "x86_64")]
mod chacha20;
#[cfg(target_arch = "x86_64")]
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod poly1305;

pub use dispatch::Avx512;

/// Length of a tag, in bytes.
pub const TAG_LEN: usize = 16;

/// The most packets of one batch.
pub const MAX_BATCH: usize = 16;

/// A key.
pub struct Key {
    words: zeroize::Zeroizing<[u32; 8]>,
    backend: Avx512,
}

impl Key {
    /// Makes it.
    pub fn new(backend: Avx512, bytes: &[u8; 32]) -> Self {
        let mut words = zeroize::Zeroizing::new([0; 8]);
        let (chunks, _) = bytes.as_chunks::<4>();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u32::from_le_bytes(*chunk);
        }
        Self { words, backend }
    }

    /// Seals
    pub fn seal(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        let mut counters = [0; MAX_BATCH];
        let mut first = first_counter;
        for packets in packets.chunks_mut(MAX_BATCH) {
            for counter in &mut counters[..packets.len()] {
                *counter = first;
                first = first.wrapping_add(1);
            }
            self.backend.seal(&self.words, &counters[..packets.len()], packets);
        }
    }

    /// Opens
    pub fn open(&self, counters: &[u64], packets: &mut [&mut [u8]], mut each: impl FnMut(usize, bool)) {
        for (n, (counters, packets)) in counters.chunks(MAX_BATCH).zip(packets.chunks_mut(MAX_BATCH)).enumerate() {
            let good = self.backend.open(&self.words, counters, packets);
            for i in 0..packets.len() {
                each(n * MAX_BATCH + i, good >> i & 1 == 1);
            }
        }
    }
}
