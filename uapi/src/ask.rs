//! Questions beyond `get` and `set`: what this program can be asked and no other implementation knows.
//!
//! ```text
//! rvpn_ask=metrics      the word
//! format=text           arguments, at most 16
//!                       the empty line
//! ```
//!
//! Other servers close the connection at the first line, as at every operation they do not know, so a client can tell.
//! What follows the question on the connection is up to the word: an answer of lines with `errno` and an empty line at
//! its end, or a stream.
//!
//! Not here: what the words mean.

use crate::error::Fault;
use crate::line;

/// The key of the first line.
pub(crate) const KEY: &[u8] = b"rvpn_ask";
/// The most arguments of one question.
const MAX_ARGUMENTS: usize = 16;
/// The most bytes of a word, and of the name of an argument.
const MAX_NAME_LEN: usize = 32;

/// A question: a word and its arguments. No secrets: neither is wiped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// What is asked: lower-case letters and `-`.
    pub word: String,
    /// Names and values, in the order they came.
    pub arguments: Vec<(String, String)>,
}

impl Ask {
    /// Makes a question without arguments.
    pub fn new(word: &str) -> Self {
        Self { word: word.to_owned(), arguments: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.arguments.push((name.to_owned(), value.to_string()));
        self
    }

    /// Returns the last value that an argument has.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Appends the question as a request. Arguments must hold no line feed: it would end them.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(KEY);
        out.extend_from_slice(format!("={}\n", self.word).as_bytes());
        for (name, value) in &self.arguments {
            out.extend_from_slice(format!("{name}={value}\n").as_bytes());
        }
        out.push(b'\n');
    }

    /// Reads the first line; `None` if it begins no question.
    pub(crate) fn begin(text: &[u8]) -> Option<Self> {
        let (key, word) = line::split(text)?;
        (key == KEY).then(|| name(word)).flatten().map(|word| Self { word, arguments: Vec::new() })
    }

    /// Reads a further line.
    pub(crate) fn line(&mut self, text: &[u8]) -> Result<(), Fault> {
        let (key, value) = line::split(text).ok_or(Fault::NoEquals)?;
        let value = str::from_utf8(value).map_err(|_| Fault::UnknownKey)?;
        if self.arguments.len() == MAX_ARGUMENTS {
            return Err(Fault::UnknownKey);
        }
        self.arguments.push((name(key).ok_or(Fault::UnknownKey)?, value.to_owned()));
        Ok(())
    }
}

/// Takes a word or the name of an argument.
fn name(text: &[u8]) -> Option<String> {
    let is_name = !text.is_empty()
        && text.len() <= MAX_NAME_LEN
        && text.iter().all(|&byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_');
    is_name.then(|| text.iter().map(|&byte| char::from(byte)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Operation, Request, RequestEvent, RequestParser, no_scopes};

    fn event(text: &[u8]) -> Option<RequestEvent> {
        RequestParser::new(Arc::new(no_scopes)).next(&mut &*text)
    }

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let ask = Ask::new("events").with("format", "json").with("since", 7);
        let mut text = Vec::new();
        ask.write(&mut text);
        assert_eq!(text, b"rvpn_ask=events\nformat=json\nsince=7\n\n");
        assert_eq!(event(&text), Some(RequestEvent::Request(Request::Ask(ask.clone()))));
        assert_eq!((ask.argument("since"), ask.argument("until")), (Some("7"), None));
    }

    #[test]
    fn another_question_can_follow() {
        let mut text = b"rvpn_ask=a\n\nget=1\n\n".as_slice();
        let mut parser = RequestParser::new(Arc::new(no_scopes));
        assert_eq!(parser.next(&mut text), Some(RequestEvent::Request(Request::Ask(Ask::new("a")))));
        assert_eq!(parser.next(&mut text), Some(RequestEvent::Request(Request::Get)));
    }

    #[test]
    fn what_is_no_word_is_no_operation() {
        for text in ["rvpn_ask=\n\n", "rvpn_ask=A\n\n", "rvpn_ask\n\n", "rvpn_asks=a\n\n"] {
            assert_eq!(event(text.as_bytes()), Some(RequestEvent::UnknownOperation), "{text:?}");
        }
        let long = format!("rvpn_ask={}\n\n", "a".repeat(MAX_NAME_LEN + 1));
        assert_eq!(event(long.as_bytes()), Some(RequestEvent::UnknownOperation));
    }

    #[test]
    fn a_broken_argument_is_answered() {
        let many = format!("rvpn_ask=a\n{}\n", "b=1\n".repeat(MAX_ARGUMENTS + 1));
        for text in ["rvpn_ask=a\nb\n\n", "rvpn_ask=a\nB=1\n\n", "rvpn_ask=a\n=1\n\n", many.as_str()] {
            let found = event(text.as_bytes());
            assert!(
                matches!(found, Some(RequestEvent::Invalid { operation: Operation::Ask, .. })),
                "{text:?}: {found:?}"
            );
        }
    }
}
