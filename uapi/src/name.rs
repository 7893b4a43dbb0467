//! Names of peers: what people call them. A server keeps them beside the keys, and nothing is decided by them.
//!
//! Not here: that a name should be the name of one peer alone. Whoever looks for one finds how many there are.

use std::fmt;
use std::sync::Arc;

/// The name of a peer: 1 to 64 bytes of UTF-8 that can be printed, shown on one line, written to a file and read back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerName(Arc<str>);

impl PeerName {
    /// The most bytes of a name.
    pub const MAX_LEN: usize = 64;

    /// What a name can be, for people.
    pub const EXPECTED: &'static str =
        "expected a name: 1 to 64 bytes that can be printed, without `#`, and neither `all` nor as long as a key";

    /// Takes a text for a name; `None` if it cannot be one.
    ///
    /// No control characters, nor those that only change how others look; no white space at either end; no `#`, which
    /// begins a comment in a file; and nothing that stands for something else where peers are named: a key, `all`.
    pub fn new(text: &str) -> Option<Self> {
        let is_possible = (1..=Self::MAX_LEN).contains(&text.len())
            && text.trim() == text
            && is_printable(text)
            && !text.contains('#')
            && !text.eq_ignore_ascii_case("all")
            && !(text.len() == KEY_TEXT_LEN && text.ends_with('='));
        is_possible.then(|| Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the value of a line; the outer `None` is no name, the inner one takes a name away.
    pub(crate) fn parse(value: &[u8]) -> Option<Option<Self>> {
        match value {
            [] => Some(None),
            value => str::from_utf8(value).ok().and_then(Self::new).map(Some),
        }
    }
}

impl From<&PeerName> for Arc<str> {
    fn from(name: &PeerName) -> Self {
        Self::clone(&name.0)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Tells whether the library would print the text as it is: it escapes what is not printable, and these three.
fn is_printable(text: &str) -> bool {
    let bare = text.replace(['\'', '"', '\\'], "_");
    // A mark joins the letter before it; at the beginning there is none, and it is escaped.
    bare.escape_debug().eq(bare.chars())
}

/// Characters of a key in base64.
const KEY_TEXT_LEN: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_their_peers_is_a_name() {
        for text in ["alice", "Bob's phone", "Büro 2", "cafe\u{301}", "日本", "x=y", &"a".repeat(64)] {
            assert_eq!(PeerName::new(text).map(|name| name.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_deceives_the_eye_or_a_reader_is_none() {
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        for text in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\0",
            "a\u{1b}[2J",
            "a#b",
            "all",
            "ALL",
            key,
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{301}a",
            "a\u{a0}b",
            &"a".repeat(65),
        ] {
            assert_eq!(PeerName::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_empty_value_takes_a_name_away() {
        assert_eq!(PeerName::parse(b""), Some(None));
        assert_eq!(PeerName::parse(b"a"), Some(PeerName::new("a")));
        assert_eq!(PeerName::parse(b"\xff"), None);
    }
}
