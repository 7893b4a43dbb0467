//! The value of a key or option whose spaces count, unlike those of `wg`: one text, or a list of words.
//!
//! Not here: what a word may be.

use super::Fault;
use super::line::Line;

/// A value with its spaces, and where it stands.
pub(super) struct Words<'a> {
    line: &'a Line<'a>,
    at: usize,
    text: &'a str,
}

impl<'a> Words<'a> {
    /// Takes what stands after `NAME =`.
    ///
    /// # Errors
    /// There is nothing, or no UTF-8.
    pub(super) fn of(line: &'a Line<'a>, name: &str) -> Result<Self, Fault> {
        let (at, raw) = line.raw_value();
        let fault = |value: &str, expected: String| Fault::new(line.raw_position(at), value, expected);
        let text =
            str::from_utf8(raw).map_err(|_| fault(&String::from_utf8_lossy(raw), "expected UTF-8".to_owned()))?;
        if text.is_empty() {
            return Err(Fault::new(line.position(0), name, format!("expected a value after `{name} =`")));
        }
        Ok(Self { line, at, text })
    }

    /// Reads all of it as one value.
    pub(super) fn whole(self, mut read: impl FnMut(&str) -> Result<(), &'static str>) -> Vec<Fault> {
        let fault = |expected| Fault::new(self.line.raw_position(self.at), self.text, expected);
        read(self.text).err().map(fault).into_iter().collect()
    }

    /// Keeps all of it as one text.
    pub(super) fn keep_in(self, list: &mut Vec<String>) -> Vec<Fault> {
        list.push(self.text.to_owned());
        Vec::new()
    }

    /// Reads each item of a list with commas, spaces or both.
    pub(super) fn each(self, mut read: impl FnMut(&str) -> Result<(), &'static str>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut next = 0;
        for item in self.text.split(|letter: char| letter == ',' || letter.is_ascii_whitespace()) {
            let at = self.at + next;
            next += item.len() + 1;
            if !item.is_empty()
                && let Err(expected) = read(item)
            {
                faults.push(Fault::new(self.line.raw_position(at), item, expected));
            }
        }
        faults
    }
}
