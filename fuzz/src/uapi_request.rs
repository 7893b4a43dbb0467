//! Requests of the configuration protocol, as a client may write them.

use std::sync::Arc;

use rvpn_uapi::{Request, RequestEvent, RequestParser, write_set};

/// Reads the bytes in pieces of any size: the size must not show. What was read and is written must be read the same.
pub fn run(bytes: &[u8]) {
    let (size, text) = bytes.split_first().map_or((0, bytes), |(size, text)| (usize::from(*size), text));
    let whole = events(text, text.len().max(1));
    assert_eq!(events(text, size + 1), whole);
    for event in whole {
        let mut written = Vec::new();
        match &event {
            RequestEvent::Request(Request::Set(set)) => write_set(set, &mut written),
            RequestEvent::Request(Request::Ask(ask)) => ask.write(&mut written),
            _ => continue,
        }
        assert_eq!(events(&written, written.len()), [event]);
    }
}

fn events(text: &[u8], size: usize) -> Vec<RequestEvent> {
    let mut parser = RequestParser::new(Arc::new(|name| (name == "lo").then_some(1)));
    let mut events = Vec::new();
    for mut piece in text.chunks(size) {
        while let Some(event) = parser.next(&mut piece) {
            events.push(event);
        }
        assert!(piece.is_empty() || parser.is_closed());
    }
    events.extend(parser.finish());
    events
}
