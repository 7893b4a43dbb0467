//! Keys as base64: the form of configuration files, of `wg`, and of people.
//!
//! 44 characters with the padding, and only the one spelling a key has: unused bits of the last character are zero. The
//! codec has no branch or table look-up that depends on the key. Not here: hexadecimal, which is the form of the
//! configuration socket (see the `rvpn-uapi` crate).
//!
//! Source: RFC 4648 section 4.

use base64ct::{Base64, Encoding};
use rvpn_uapi::SecretKey;
use zeroize::Zeroizing;

/// Characters of a key.
pub const KEY_TEXT_LEN: usize = 44;

/// Reads a key; `None` if the text is none.
pub fn decode(text: &[u8]) -> Option<SecretKey> {
    if text.len() != KEY_TEXT_LEN {
        return None;
    }
    // Room for 33 bytes: what 44 characters without padding would have.
    let mut bytes = Zeroizing::new([0; 33]);
    let bytes: &[u8; 32] = Base64::decode(text, &mut *bytes).ok()?.try_into().ok()?;
    Some(SecretKey::new(bytes))
}

/// Writes a key. The text is wiped on drop.
pub fn encode(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let text = encode(&[0xfb; 32]);
        assert_eq!(text.len(), KEY_TEXT_LEN);
        assert_eq!(decode(text.as_bytes()), Some(SecretKey::new(&[0xfb; 32])));
    }

    #[test]
    fn a_key_has_one_spelling() {
        for text in [
            "",
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=",
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==",
            "AQEBAQEBAQEBAQEB-QEBAQEBAQEBAQEBAQEBAQEBAQE=",
            "AQEBAQEBAQEBAQEB QEBAQEBAQEBAQEBAQEBAQEBAQE=",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
