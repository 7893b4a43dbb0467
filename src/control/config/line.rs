//! Lines of a file, without comments and white space, and with the way back to their columns.
//!
//! A comment that begins with `#rvpn:` is a line of its own kind: an option of this program, which other tools skip.
//!
//! Not here: what a line means.

use zeroize::Zeroizing;

use super::Position;

/// A line with something on it.
pub(super) struct Line<'a> {
    number: usize,
    /// As it stands in the file, up to the comment.
    raw: &'a [u8],
    /// Where in `raw` it begins: after the mark of an option.
    start: usize,
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

    /// Returns whether it is an option of this program in a comment.
    pub(super) const fn is_option(&self) -> bool {
        self.start > 0
    }

    /// Returns what stands after the first `=` with the white space in it, but not around it, and where: for
    /// [`Line::raw_position`].
    pub(super) fn raw_value(&self) -> (usize, &[u8]) {
        let from = self.raw.iter().position(|&byte| byte == b'=').map_or(self.raw.len(), |equals| equals + 1);
        let value = self.raw[from..].trim_ascii_end();
        let trimmed = value.trim_ascii_start();
        (from + value.len() - trimmed.len(), trimmed)
    }

    /// Returns where the byte `offset` of the line stands in the file.
    pub(super) fn raw_position(&self, offset: usize) -> Position {
        // A character begins with each byte that does not continue one.
        let before = self.raw[..offset.min(self.raw.len())].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Position { line: self.number, column: before + 1 }
    }

    /// Returns where the byte `at` of [`Line::text`] stands in the file; its end for one beyond it.
    pub(super) fn position(&self, at: usize) -> Position {
        let counting = |&(_, byte): &(usize, &u8)| !is_space(*byte);
        let found = self.raw.iter().enumerate().skip(self.start).filter(counting).nth(at);
        self.raw_position(found.map_or(self.raw.len(), |(offset, _)| offset))
    }
}

/// Splits a file into its lines and leaves out those that say nothing.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').zip(1..).filter_map(|(line, number)| {
        let start = option_start(line).unwrap_or(0);
        // A zero byte ends a line like a comment: `wg` reads C strings.
        let end = line[start..].iter().position(|&byte| byte == b'#' || byte == 0).map_or(line.len(), |at| start + at);
        let raw = &line[..end];
        let mut text = Zeroizing::new(Vec::with_capacity(raw.len()));
        text.extend(raw[start..].iter().filter(|&&byte| !is_space(byte)));
        (!text.is_empty()).then_some(Line { number, raw, start, text })
    })
}

/// Returns where the option begins if the line is one.
fn option_start(line: &[u8]) -> Option<usize> {
    let rest = line.trim_ascii_start().strip_prefix(OPTION_MARK)?;
    Some(line.len() - rest.len())
}

const OPTION_MARK: &[u8] = b"#rvpn:";

/// Returns whether C's `isspace` takes the byte for white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
