//! The key of a session: batches go to the multi-packet back-end where that is faster, everything else to [`Aead`].
//!
//! Not here: how several packets are sealed at once, and from how many on it pays (see [`crate::aead`]).

use super::{Aead, BadTag, PacketAead, TAG_LEN};
use crate::aead;
use crate::proto::keys::SessionKey;

/// A ChaCha20-Poly1305 key for packets.
pub struct PacketKey {
    single: Aead,
    several: Option<aead::Key>,
}

impl PacketKey {
    /// Makes a key for `backend`; `None` is the library alone.
    pub fn with(backend: Option<aead::Avx512>, key: &SessionKey) -> Self {
        let several = backend.map(|backend| aead::Key::new(backend, key.as_bytes()));
        Self { single: Aead::new(key), several }
    }

    /// Seals as many packets as go together.
    fn seal_group(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        match &self.several {
            Some(key) if aead::pays(packets) => key.seal(first_counter, packets),
            _ => self.single.seal_batch(first_counter, packets),
        }
    }

    /// Opens as many packets as go together.
    fn open_group(&self, counters: &[u64], packets: &mut [&mut [u8]], results: &mut [Result<usize, BadTag>]) {
        match &self.several {
            Some(key) if aead::pays(packets) && counters.len() == packets.len() => {
                let good = key.open(counters, packets);
                for (n, (result, packet)) in results.iter_mut().zip(packets).enumerate() {
                    *result = if good >> n & 1 == 1 { Ok(packet.len() - TAG_LEN) } else { Err(BadTag) };
                }
            }
            _ => self.single.open_batch(counters, packets, results),
        }
    }
}

impl PacketAead for PacketKey {
    fn new(key: &SessionKey) -> Self {
        Self::with(aead::selected(), key)
    }

    fn seal(&self, counter: u64, text: &mut [u8]) -> [u8; TAG_LEN] {
        self.single.seal(counter, text)
    }

    fn open(&self, counter: u64, packet: &mut [u8]) -> Result<usize, BadTag> {
        self.single.open(counter, packet)
    }

    fn seal_batch(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        // Not one share of many: to find that out takes a division for each slice, which a small packet would feel.
        if packets.len() <= aead::MAX_BATCH {
            return self.seal_group(first_counter, packets);
        }
        let mut counter = first_counter;
        for packets in packets.chunks_mut(aead::share(packets.len())) {
            self.seal_group(counter, packets);
            counter = counter.wrapping_add(packets.len() as u64);
        }
    }

    fn open_batch(&self, counters: &[u64], packets: &mut [&mut [u8]], results: &mut [Result<usize, BadTag>]) {
        if packets.len() <= aead::MAX_BATCH {
            return self.open_group(counters, packets, results);
        }
        let share = aead::share(packets.len());
        let groups = counters.chunks(share).zip(packets.chunks_mut(share)).zip(results.chunks_mut(share));
        for ((counters, packets), results) in groups {
            self.open_group(counters, packets, results);
        }
    }
}
