//! Answers of the configuration protocol, as a server may write them.

use std::sync::Arc;

use rvpn_uapi::{DeviceStatus, ParseError, Reply, ReplyParser, StatusWriter};

/// Reads the bytes in pieces of any size: the size must not show. What was read and is written must be read the same.
pub fn run(bytes: &[u8]) {
    let (size, text) = bytes.split_first().map_or((0, bytes), |(size, text)| (usize::from(*size), text));
    let whole = parse(text, text.len().max(1));
    assert_eq!(parse(text, size + 1), whole);
    let Ok(Reply { error: None, status }) = whole else { return };
    // Room for the least the writer asks for, and more.
    for room in [512, 512 + 7 * size] {
        let written = write(&status, room);
        assert_eq!(parse(&written, size + 1), Ok(Reply { error: None, status: status.clone() }));
    }
}

fn parse(text: &[u8], size: usize) -> Result<Reply, ParseError> {
    let mut parser = ReplyParser::new(Arc::new(|name| (name == "lo").then_some(1)));
    for mut piece in text.chunks(size) {
        if let Some(reply) = parser.next(&mut piece)? {
            return Ok(reply);
        }
    }
    Err(parser.incomplete())
}

fn write(status: &DeviceStatus, room: usize) -> Vec<u8> {
    let mut writer = StatusWriter::new(status);
    let (mut all, mut piece) = (Vec::new(), Vec::with_capacity(room));
    while writer.fill(&mut piece) {
        assert!(piece.capacity() == room && !piece.is_empty(), "a piece outgrew its room, or said nothing");
        all.append(&mut piece);
    }
    all
}
