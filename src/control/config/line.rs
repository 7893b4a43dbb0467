//! Lines of a file, without comments and white space, and with the way back to their columns.
//!
//! Not here: what a line means.

use zeroize::Zeroizing;

use super::Position;

/// A line with something on it.
pub(super) struct Line<'a> {
    number: usize,
    /// As it stands in the file, up to the comment.
    raw: &'a [u8],
    /// What counts of it. Wiped on drop, since it may hold a key.
    text: Zeroizing<Vec<u8>>,
}

impl Line<'_> {
    /// Returns what counts: never empty.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Splits at the first `=`.
    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let equals = self.text.iter().position(|&byte| byte == b'=')?;
        Some((&self.text[..equals], &self.text[equals + 1..]))
    }

    /// Returns where the byte `at` of [`Line::text`] stands in the file; its end for one beyond it.
    pub(super) fn position(&self, at: usize) -> Position {
        let counting = |&(_, byte): &(usize, &u8)| !is_space(*byte);
        let offset = self.raw.iter().enumerate().filter(counting).nth(at).map_or(self.raw.len(), |(offset, _)| offset);
        // A character begins with each byte that does not continue one.
        let before = self.raw[..offset].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Position { line: self.number, column: before + 1 }
    }
}

/// Splits a file into its lines and leaves out those that say nothing.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').zip(1..).filter_map(|(line, number)| {
        // A zero byte ends a line like a comment: `wg` reads C strings.
        let end = line.iter().position(|&byte| byte == b'#' || byte == 0).unwrap_or(line.len());
        let raw = &line[..end];
        let mut text = Zeroizing::new(Vec::with_capacity(raw.len()));
        text.extend(raw.iter().filter(|&&byte| !is_space(byte)));
        (!text.is_empty()).then_some(Line { number, raw, text })
    })
}

/// Returns whether C's `isspace` takes the byte for white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
