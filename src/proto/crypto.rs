//! The primitives, behind one small face per use, with two back-ends.
//!
//! SKELETON: helper fills in. `aws-lc-rs` (feature `aws-lc`) or RustCrypto/dalek (feature `pure-rust`, wins).

use super::keys::{PrivateKey, PublicKey, SessionKey, SharedSecret};

/// Length of a Poly1305 tag, in bytes.
pub const TAG_LEN: usize = 16;

/// The tag did not verify; the buffer's content is unspecified and must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication tag does not verify")]
pub struct BadTag;

/// ChaCha20-Poly1305 under one key, for packets: nonce = 4 zero bytes, counter (LE64); no associated data.
pub trait PacketAead: Send + Sync + Sized {
    /// Makes the key context once per keypair.
    fn new(key: &SessionKey) -> Self;
    /// Encrypts in place; returns the tag for the caller to place after the text.
    fn seal(&self, counter: u64, text: &mut [u8]) -> [u8; TAG_LEN];
    /// Verifies and decrypts `packet` = ciphertext, tag, in place; returns the length of the plaintext at its start.
    fn open(&self, counter: u64, packet: &mut [u8]) -> Result<usize, BadTag>;
    /// Seals `packets[i]` = plaintext followed by TAG_LEN spare bytes, under `first_counter + i`.
    fn seal_batch(&self, first_counter: u64, packets: &mut [&mut [u8]]) {
        let _ = (first_counter, packets);
        unimplemented!()
    }
    /// Opens `packets[i]` under `counters[i]`; `results[i]` tells the fate of each.
    fn open_batch(&self, counters: &[u64], packets: &mut [&mut [u8]], results: &mut [Result<usize, BadTag>]) {
        let _ = (counters, packets, results);
        unimplemented!()
    }
}

/// The packet AEAD of this build.
pub type Aead = Placeholder;

/// SKELETON: replaced by the back-ends.
pub struct Placeholder;
impl PacketAead for Placeholder {
    fn new(_: &SessionKey) -> Self {
        Self
    }
    fn seal(&self, _: u64, _: &mut [u8]) -> [u8; TAG_LEN] {
        unimplemented!()
    }
    fn open(&self, _: u64, _: &mut [u8]) -> Result<usize, BadTag> {
        unimplemented!()
    }
}

/// Derives the public key of `private`.
pub fn public_key(private: &PrivateKey) -> PublicKey {
    let _ = private;
    unimplemented!()
}

/// Computes X25519; `None` if the result is zero.
pub fn diffie_hellman(private: &PrivateKey, public: &PublicKey) -> Option<SharedSecret> {
    let _ = (private, public);
    unimplemented!()
}
