//! Lines out of a stream of bytes that arrives in pieces of any size.
//!
//! Not here: what a line means.

use zeroize::{Zeroize, Zeroizing};

/// The most bytes of a line, without its end.
pub(crate) const MAX_LINE_LEN: usize = 64 * 1024;

/// Keeps the beginning of a line whose end has not come yet.
pub(crate) struct LineBuffer {
    /// Bytes of the unfinished line. Wiped on drop and after each line, since it may hold a key.
    pending: Zeroizing<Vec<u8>>,
}

/// A line is over [`MAX_LINE_LEN`]: where the next one begins is not known, so the stream is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong;

impl LineBuffer {
    /// Makes an empty buffer.
    pub(crate) fn new() -> Self {
        // A valid line with a key has under 128 bytes, so growing never moves a key.
        Self { pending: Zeroizing::new(Vec::with_capacity(128)) }
    }

    /// Takes the next line from `input`, without its `\n`, and passes it to `use_line`; `None` if there is no whole
    /// line yet, and then all of `input` has been taken.
    ///
    /// # Errors
    /// [`LineTooLong`], after which the buffer must not be used.
    pub(crate) fn next<R>(
        &mut self,
        input: &mut &[u8],
        use_line: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, LineTooLong> {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            if self.pending.len() + input.len() > MAX_LINE_LEN {
                return Err(LineTooLong);
            }
            self.pending.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        };
        let (line, rest) = (&input[..end], &input[end + 1..]);
        if self.pending.len() + line.len() > MAX_LINE_LEN {
            return Err(LineTooLong);
        }
        *input = rest;
        if self.pending.is_empty() {
            return Ok(Some(use_line(line)));
        }
        self.pending.extend_from_slice(line);
        let result = use_line(&self.pending);
        self.pending.zeroize();
        Ok(Some(result))
    }

    /// Returns whether a line has begun.
    pub(crate) fn is_within_line(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Splits a line at its first `=`.
pub(crate) fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = line.iter().position(|&byte| byte == b'=')?;
    Some((&line[..equals], &line[equals + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut buffer = LineBuffer::new();
        let mut lines = Vec::new();
        for mut chunk in chunks.iter().copied() {
            while let Some(line) = buffer.next(&mut chunk, <[u8]>::to_vec)? {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let expected = Ok(vec![b"a=1".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert_eq!(lines(&[b"a=1\n\nb\nc"]), expected);
        assert_eq!(lines(&[b"a", b"=", b"1", b"\n", b"\n", b"b", b"\n", b"c"]), expected);
        assert_eq!(lines(&[b"a=", b"1\n\n", b"b\nc"]), expected);
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let mut line = vec![b'x'; MAX_LINE_LEN];
        line.push(b'\n');
        assert_eq!(lines(&[&line]).map(|lines| lines[0].len()), Ok(MAX_LINE_LEN));
        assert_eq!(lines(&[&line[..9], &line[9..]]).map(|lines| lines[0].len()), Ok(MAX_LINE_LEN));
        line.insert(0, b'x');
        assert_eq!(lines(&[&line]), Err(LineTooLong));
        assert_eq!(lines(&[&line[..9], &line[9..]]), Err(LineTooLong));
        assert_eq!(lines(&[&line[..=MAX_LINE_LEN]]), Err(LineTooLong), "before the end of the line comes");
    }
}
