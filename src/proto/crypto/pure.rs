//! ChaCha20-Poly1305 and X25519 in Rust alone: for targets without a C compiler, and as twin of `aws_lc` in tests.
//!
//! Wiping: the key that stays is a [`SessionKey`] or a [`PrivateKey`]. The cipher of the `chacha20poly1305` crate is
//! made per message (it is a copy of the key and nothing else) and its stack frame is not wiped.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use super::super::keys::{PrivateKey, PublicKey, SessionKey, SharedSecret};
use super::{BadTag, PacketAead, TAG_LEN, nonce};

/// A ChaCha20-Poly1305 key.
pub struct Aead(SessionKey);

impl Aead {
    /// Encrypts `text` in place and authenticates it with `associated`; returns the tag.
    pub fn seal_with(&self, counter: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        self.cipher()
            .encrypt_inout_detached(&nonce(counter).into(), associated, text.into())
            .expect("sealing fails only beyond 256 GiB")
            .into()
    }

    /// Verifies and decrypts `message` = ciphertext, tag, in place; returns the length of the plaintext.
    ///
    /// # Errors
    /// [`BadTag`], also for a message shorter than a tag.
    pub fn open_with(&self, counter: u64, associated: &[u8], message: &mut [u8]) -> Result<usize, BadTag> {
        let (text, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(BadTag)?;
        let len = text.len();
        self.cipher()
            .decrypt_inout_detached(&nonce(counter).into(), associated, text.into(), &(*tag).into())
            .map_err(|_| BadTag)?;
        Ok(len)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(self.0.as_bytes().into())
    }
}

impl PacketAead for Aead {
    fn new(key: &SessionKey) -> Self {
        Self(key.clone())
    }

    fn seal(&self, counter: u64, text: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal_with(counter, &[], text)
    }

    fn open(&self, counter: u64, packet: &mut [u8]) -> Result<usize, BadTag> {
        self.open_with(counter, &[], packet)
    }
}

/// An X25519 private key.
pub struct X25519(PrivateKey);

impl X25519 {
    /// Takes `private`.
    pub fn new(private: &PrivateKey) -> Self {
        Self(private.clone())
    }

    /// Computes the public key.
    pub fn public_key(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(*self.0.as_bytes());
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// Computes the shared secret; `None` if it is zero.
    pub fn diffie_hellman(&self, public: &PublicKey) -> Option<SharedSecret> {
        let secret = Zeroizing::new(x25519_dalek::x25519(*self.0.as_bytes(), public.0));
        SharedSecret::new(*secret)
    }
}
