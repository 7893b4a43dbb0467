//! What is wrong with a file, and where.

use std::fmt;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
}

/// A value that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it begins.
    pub position: Position,
    value: String,
    expected: String,
}

impl Fault {
    /// Says what stands there and what should. A value that may be a key in the place of something else is not told.
    pub fn new(position: Position, value: &str, expected: impl Into<String>) -> Self {
        if may_be_secret(value.as_bytes()) {
            return Self::of_secret(position, value.len(), &expected.into());
        }
        // Control characters would move the cursor of whoever reads it.
        let value = format!("`{}`", value.escape_debug());
        Self { position, value, expected: expected.into() }
    }

    /// Says what should stand there, and of what does only how long it is: it may be a key, or most of one.
    pub fn of_secret(position: Position, len: usize, expected: &str) -> Self {
        Self { position, value: format!("a word of {len} characters"), expected: expected.to_owned() }
    }
}

/// Tells whether most of a key in base64 is in `value`. Nothing else that belongs in a file is as long without a dot, a
/// colon or a comma, but part of a name of a host that few would miss.
fn may_be_secret(value: &[u8]) -> bool {
    value
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
        .any(|run| run.len() > MAX_WORD_LEN)
}
/// No key of a file is as long, and no secret is as short.
pub(super) const MAX_WORD_LEN: usize = 32;

/// Without the file's name: `3:14: `70000`: expected ...`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position: Position { line, column }, value, expected } = self;
        write!(f, "{line}:{column}: {value}: {expected}")
    }
}

/// Everything that is wrong with a file, a line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the file.
    pub file: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let end = if index + 1 < self.faults.len() { "\n" } else { "" };
            write!(f, "{}:{fault}{end}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
