//! Keys as 32 bytes and as 64 hexadecimal digits.
//!
//! Written in lower case, read in either. The codec has no branch or table look-up that depends on the digits.
//! Not here: base64, which is the form of configuration files, and what a key means.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The public key that names a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads 64 hexadecimal digits.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        decode(text, &mut bytes).then_some(Self(bytes))
    }

    /// Appends 64 lower-case hexadecimal digits.
    pub(crate) fn write_hex(&self, out: &mut Vec<u8>) {
        encode(&self.0, out);
    }
}

/// Prints the first four bytes: enough to tell peers apart.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// A private or a preshared key. All zero stands for "none".
///
/// The bytes are boxed, so that moving the key, or growing a list of peers, leaves no copy behind; they are wiped on
/// drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(Box<[u8; 32]>);

impl SecretKey {
    /// Copies 32 bytes; the caller wipes its own.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Box::new(*bytes))
    }

    /// Returns the secret bytes. They must not be formatted or logged.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether the key stands for "none".
    pub fn is_zero(&self) -> bool {
        self.0.ct_eq(&[0; 32]).into()
    }

    /// Reads 64 hexadecimal digits.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let mut key = Self(Box::new([0; 32]));
        decode(text, &mut key.0).then_some(key)
    }

    /// Appends 64 lower-case hexadecimal digits. `out` must have room for them, or growing it leaves a copy behind.
    pub(crate) fn write_hex(&self, out: &mut Vec<u8>) {
        encode(&self.0, out);
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// Compares in constant time.
impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SecretKey {}

fn decode(text: &[u8], bytes: &mut [u8; 32]) -> bool {
    text.len() == HEX_LEN && base16ct::mixed::decode(text, bytes).is_ok()
}

fn encode(bytes: &[u8; 32], out: &mut Vec<u8>) {
    let mut digits = Zeroizing::new([0; HEX_LEN]);
    let digits = base16ct::lower::encode(bytes, &mut *digits).expect("two digits for each byte fit");
    out.extend_from_slice(digits);
}

const HEX_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_case_is_read_and_lower_case_is_written() {
        let key = PublicKey::from_hex("aB".repeat(32).as_bytes()).expect("hexadecimal");
        assert_eq!(key.0, [0xab; 32]);
        let mut out = Vec::new();
        key.write_hex(&mut out);
        assert_eq!(out, "ab".repeat(32).as_bytes());
    }

    #[test]
    fn anything_but_64_digits_is_no_key() {
        for text in [&b""[..], &[b'a'; 63], &[b'a'; 65], &[b'a'; 66], &[b'g'; 64], &[0xff; 64]] {
            assert!(PublicKey::from_hex(text).is_none());
            assert!(SecretKey::from_hex(text).is_none());
        }
    }

    #[test]
    fn secrets_are_redacted_in_debug() {
        assert_eq!(format!("{:?}", SecretKey::new(&[7; 32])), "SecretKey(redacted)");
    }

    #[test]
    fn only_all_zero_is_none() {
        assert!(SecretKey::new(&[0; 32]).is_zero());
        let mut bytes = [0; 32];
        bytes[31] = 1;
        assert!(!SecretKey::new(&bytes).is_zero());
    }
}
