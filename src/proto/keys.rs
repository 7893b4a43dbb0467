//! Keys as types: what is public can be printed, what is secret is wiped on drop and never printed.
//!
//! Layout: every key is 32 bytes; X25519 private keys are stored clamped (RFC 7748 section 5), as `wg` reads them
//! back. Not here: computing with keys (see `crypto`), their text forms (see the `rvpn-uapi` crate).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A static or ephemeral X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Returns the 32 bytes as they go on the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Prints the first four bytes in hexadecimal: enough to tell peers apart in a log.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Returns the secret bytes. They must not be formatted or logged.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }

        /// Compares in constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// A static or ephemeral X25519 private key, clamped, never zero.
    PrivateKey
}

impl PrivateKey {
    /// Clamps `bytes` and takes them as a key; all zero means "no identity" and gives `None`.
    pub fn new(mut bytes: [u8; 32]) -> Option<Self> {
        let zero: bool = bytes.ct_eq(&[0; 32]).into();
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        let key = Self(bytes);
        bytes.zeroize();
        (!zero).then_some(key)
    }

    /// Draws a fresh private key.
    pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
        let mut bytes = [0; 32];
        loop {
            rng.fill_bytes(&mut bytes);
            if let Some(key) = Self::new(bytes) {
                bytes.zeroize();
                return key;
            }
        }
    }
}

secret! {
    /// A preshared key; all zero, the default, is a real input and means that none is configured.
    #[derive(Default)]
    PresharedKey
}

impl PresharedKey {
    /// Takes the 32 bytes as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

secret! {
    /// The result of X25519, known not to be zero.
    SharedSecret
}

impl SharedSecret {
    /// Takes a result of X25519; `None` if it is zero, which a low-order public key causes (RFC 7748 section 6.1).
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        let secret = Self(bytes);
        let zero: bool = secret.0.ct_eq(&[0; 32]).into();
        (!zero).then_some(secret)
    }
}

secret! {
    /// A key of ChaCha20-Poly1305.
    SessionKey
}

impl SessionKey {
    /// Takes the 32 bytes as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_stored_clamped() {
        let key = PrivateKey::new([0xff; 32]).expect("not zero");
        assert_eq!(key.as_bytes()[0], 0xf8);
        assert_eq!(key.as_bytes()[31], 0x7f);
    }

    #[test]
    fn zero_is_no_private_key_and_no_shared_secret() {
        assert!(PrivateKey::new([0; 32]).is_none());
        assert!(SharedSecret::new([0; 32]).is_none());
    }

    #[test]
    fn secrets_are_redacted_in_debug() {
        let key = PrivateKey::new([0x41; 32]).expect("not zero");
        assert_eq!(format!("{key:?}"), "PrivateKey(redacted)");
        assert_eq!(format!("{:?}", PresharedKey::new([1; 32])), "PresharedKey(redacted)");
    }
}
