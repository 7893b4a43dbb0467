//! Attributes of netfilter's messages: numbers are big-endian, and what is nested says so.
//!
//! Source: Linux uapi/linux/netlink.h, struct nlattr.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};

/// Attributes one after another, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a number.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Adds a text, with the zero byte that ends it.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat());
    }

    /// Adds attributes in an attribute.
    pub(super) fn nested(&mut self, kind: u16, value: &Self) {
        self.bytes(kind | NLA_F_NESTED, &value.0);
    }

    /// Adds what is none of these.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let at = self.0.len();
        self.0.resize(at + attribute.buffer_len(), 0);
        attribute.emit(&mut self.0[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_nested_ones_are_marked() {
        let mut inner = Attributes::new();
        inner.number(1, 0x0102_0304);
        let mut outer = Attributes::new();
        outer.text(3, "ab");
        outer.text(3, "abc");
        outer.nested(4, &inner);
        let len = |len: u16| len.to_ne_bytes();
        let kind = |kind: u16| kind.to_ne_bytes();
        let expected = [
            &len(7)[..],
            &kind(3),
            b"ab\0\0",
            &len(8),
            &kind(3),
            b"abc\0",
            &len(12),
            &kind(0x8004),
            &len(8),
            &kind(1),
            &[1, 2, 3, 4],
        ];
        assert_eq!(outer.as_bytes(), expected.concat());
    }
}
