//! Decimal numbers as the protocol writes them: digits and nothing else.
//!
//! `str::parse` alone would take a leading `+`.

use std::str::FromStr;

/// Reads an unsigned decimal number that fits `T`.
pub(crate) fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_digits_that_fit_are_a_number() {
        assert_eq!(super::parse::<u16>(b"65535"), Some(65535));
        for text in [&b""[..], b"65536", b"+1", b"-1", b" 1", b"1 ", b"0x1", b"off"] {
            assert_eq!(super::parse::<u16>(text), None);
        }
    }
}
