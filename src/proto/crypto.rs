//! The primitives, behind one small face per use, with two back-ends for those that cost time.
//!
//! | use | `aws_lc` (feature `aws-lc`) | `pure` (feature `pure-rust`, wins; also without `aws-lc`) |
//! |---|---|---|
//! | single packets and handshake payloads | ChaCha20-Poly1305 of AWS-LC | `chacha20poly1305` |
//! | packets in batches | [`crate::aead`] where the processor can, else as above | the same |
//! | X25519 | AWS-LC | `x25519-dalek` |
//! | BLAKE2s, and what is built on it | [`blake2s`] | [`blake2s`] |
//! | cookies | [`xaead`] | [`xaead`] |
//!
//! Both back-ends are compiled for tests and held against each other. `ring` was refused because it cannot do X25519
//! with static keys.
//!
//! Not here: nonces, indices and headers (see `transport`), the handshake (see `handshake`).
//!
//! Sources: RFC 8439 (ChaCha20-Poly1305), RFC 7748 (X25519), RFC 7693 (BLAKE2s).

use super::keys::{PrivateKey, PublicKey, SessionKey, SharedSecret};

#[cfg(all(feature = "aws-lc", any(test, not(feature = "pure-rust"))))]
pub mod aws_lc;
pub mod blake2s;
mod packet_key;
#[cfg(any(test, feature = "pure-rust", not(feature = "aws-lc")))]
pub mod pure;
#[cfg(test)]
mod tests;
pub mod xaead;

#[cfg(all(feature = "aws-lc", not(feature = "pure-rust")))]
pub use aws_lc::{Aead, X25519};
#[cfg(any(feature = "pure-rust", not(feature = "aws-lc")))]
pub use pure::{Aead, X25519};

pub use packet_key::PacketKey;

/// Length of a Poly1305 tag, in bytes.
pub const TAG_LEN: usize = 16;

/// The tag did not verify; the buffer's content is unspecified and must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication tag does not verify")]
pub struct BadTag;

/// ChaCha20-Poly1305 under one key, for packets: nonce = 4 zero bytes, counter (LE64); no associated data.
///
/// [`PacketKey`] is what sessions use; [`Aead`] is the library of this build. The key is wiped when the context is
/// dropped.
pub trait PacketAead: Send + Sync + Sized {
    /// Makes the key context: once per keypair, because a context allocates.
    fn new(key: &SessionKey) -> Self;

    /// Encrypts in place; returns the tag for the caller to place after the text.
    fn seal(&self, counter: u64, text: &mut [u8]) -> [u8; TAG_LEN];

    /// Verifies and decrypts `packet` = ciphertext, tag, in place; returns the length of the plaintext at its start.
    ///
    /// # Errors
    /// [`BadTag`] if the tag does not verify or `packet` is too short to hold one.
    fn open(&self, counter: u64, packet: &mut [u8]) -> Result<usize, BadTag>;

    /// Seals `packets[i]` = plaintext followed by [`TAG_LEN`] spare bytes, under `first_counter + i`.
    ///
    /// The caller reserved the counters, so the last of them is below the limit and the sum cannot wrap. Batches are
    /// part of the trait because a back-end that works on several packets at once has its place here.
    /// A caller hands over what is warm: about as many packets as fit the first-level cache.
    ///
    /// # Panics
    /// If a packet has no room for the tag.
    fn seal_batch(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        for (packet, counter) in packets.iter_mut().zip(first_counter..) {
            let (text, tag) = packet.split_last_chunk_mut::<TAG_LEN>().expect("a packet ends with room for the tag");
            *tag = self.seal(counter, text);
        }
    }

    /// Opens `packets[i]` under `counters[i]`; `results[i]` is what [`PacketAead::open`] returns for it.
    ///
    /// A packet that does not open changes nothing for the others. The three slices have the same length; if they do not, what is beyond the shortest is left alone.
    fn open_batch(&self, counters: &[u64], packets: &mut [&mut [u8]], results: &mut [Result<usize, BadTag>]) {
        debug_assert!(counters.len() == packets.len() && packets.len() == results.len());
        for ((packet, counter), result) in packets.iter_mut().zip(counters).zip(results) {
            *result = self.open(*counter, packet);
        }
    }
}

/// Derives the public key of `private`.
pub fn public_key(private: &PrivateKey) -> PublicKey {
    X25519::new(private).public_key()
}

/// Computes X25519; `None` if the result is zero, which a low-order public key causes.
///
/// Who uses a private key more than once keeps an [`X25519`] instead: AWS-LC spends as much as a third of the
/// computation on making one.
pub fn diffie_hellman(private: &PrivateKey, public: &PublicKey) -> Option<SharedSecret> {
    X25519::new(private).diffie_hellman(public)
}

/// The nonce of message `counter`: 4 zero bytes, then the counter in little-endian order.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}
