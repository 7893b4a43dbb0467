//! The known handshake that the tests of several modules share: keys, messages, and a random source that is none.
//!
//! The values come from an implementation independent of this one, which spoke with other WireGuard programs.

use std::collections::VecDeque;
use std::convert::Infallible;

use rand::{TryCryptoRng, TryRng};

use super::keys::{PrivateKey, PublicKey};

/// The initiator's static public key.
pub(super) const I: PublicKey = PublicKey([
    0x7b, 0x4e, 0x90, 0x9b, 0xbe, 0x7f, 0xfe, 0x44, 0xc4, 0x65, 0xa2, 0x20, 0x03, 0x7d, 0x60, 0x8e, 0xe3, 0x58, 0x97,
    0xd3, 0x1e, 0xf9, 0x72, 0xf0, 0x7f, 0x74, 0x89, 0x2c, 0xb0, 0xf7, 0x3f, 0x13,
]);
/// The responder's static public key.
pub(super) const R: PublicKey = PublicKey([
    0x0f, 0xaa, 0x68, 0x4e, 0xd2, 0x88, 0x67, 0xb9, 0x7f, 0x4a, 0x6a, 0x2d, 0xee, 0x5d, 0xf8, 0xce, 0x97, 0x4e, 0x76,
    0xb7, 0x01, 0x8e, 0x3f, 0x22, 0xa1, 0xc4, 0xcf, 0x26, 0x78, 0x57, 0x0f, 0x20,
]);

/// The initiator's static private key.
pub(super) fn initiator_private() -> PrivateKey {
    private("1011111111111111111111111111111111111111111111111111111111111151")
}

/// The responder's static private key.
pub(super) fn responder_private() -> PrivateKey {
    private("2022222222222222222222222222222222222222222222222222222222222262")
}

/// The initiator's ephemeral private key.
pub(super) fn initiator_ephemeral() -> PrivateKey {
    private("3033333333333333333333333333333333333333333333333333333333333373")
}

/// The responder's ephemeral private key.
pub(super) fn responder_ephemeral() -> PrivateKey {
    private("4044444444444444444444444444444444444444444444444444444444444444")
}

/// The initiation, with mac1, without mac2.
pub(super) fn initiation() -> [u8; 148] {
    array(concat!(
        "01000000040302017b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b1481e498317da959fb",
        "a46669572516a5e6c021bfa620bb6c56ca0082e1feae14988c2c64d024c617734a263f76a008df04d0f94bad8ee75ec8",
        "e6c2695569183cc7dc1e27ce0c1b8436de667e2793bcc82f5db3b8466ea6d8fb567bf96b000000000000000000000000",
        "00000000"
    ))
}

/// The response under the preshared key 55…55, with mac1, without mac2.
pub(super) fn response() -> [u8; 92] {
    array(concat!(
        "020000000d0c0b0a04030201ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6bf3c8d3f4",
        "36c557547df21dab91e91043a0c1e8d7649bfee7d31931b4c794c30900000000000000000000000000000000"
    ))
}

/// The response under the preshared key zero, with mac1, without mac2.
pub(super) fn response_without_psk() -> [u8; 92] {
    array(concat!(
        "020000000d0c0b0a04030201ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6bcac3911a",
        "43d93d79c9d0728ffc42d5aaa1eb242355dd7de5e0092c1b77a30a6700000000000000000000000000000000"
    ))
}

/// Reads hexadecimal digits.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal digits"))
        .collect()
}

/// Reads exactly `N` bytes of hexadecimal digits.
pub(super) fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().expect("the right number of digits")
}

fn private(hex: &str) -> PrivateKey {
    let bytes = array(hex);
    let key = PrivateKey::new(bytes).expect("not zero");
    assert_eq!(*key.as_bytes(), bytes, "the keys of the vectors are clamped");
    key
}

/// A random source that yields the bytes it was given, and panics when they are used up.
pub(super) struct FixedRng(VecDeque<u8>);

impl FixedRng {
    pub(super) fn new(draws: &[&[u8]]) -> Self {
        Self(draws.concat().into())
    }
}

impl TryRng for FixedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for byte in dst {
            *byte = self.0.pop_front().expect("no more draws than the test provides for");
        }
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}
