//! XChaCha20-Poly1305, for the cookie in a cookie reply: its nonce is long enough to be drawn at random.
//!
//! From RustCrypto in every build: it runs under load only, on 16 bytes, and AWS-LC does not have it.
//!
//! Source: draft-irtf-cfrg-xchacha-03.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};

use super::{BadTag, TAG_LEN};

/// Length of the nonce, in bytes.
pub const NONCE_LEN: usize = 24;

/// Encrypts `text` in place and authenticates it with `associated`; returns the tag.
pub fn seal(key: &[u8; 32], nonce: &[u8; NONCE_LEN], associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
    XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(nonce.into(), associated, text.into())
        .expect("sealing fails only beyond 256 GiB")
        .into()
}

/// Verifies `tag` and decrypts `text` in place.
///
/// # Errors
/// [`BadTag`]; `text` is then unspecified.
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), BadTag> {
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated, text.into(), tag.into())
        .map_err(|_| BadTag)
}
