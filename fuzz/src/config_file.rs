//! Configuration files of `wg`, as a person may write them.

use rvpn::control::config::{Config, ConfigError};
use rvpn_uapi::{Request, RequestEvent, RequestParser, Set, write_set};

/// Reads a file. Every fault lies in it, is one line, and has no key in it; a file without a fault is a request that a server takes.
pub fn run(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => check(config),
        Err(faults) => {
            assert!(!faults.is_empty(), "a file is refused without a reason");
            assert!(faults.is_sorted_by_key(|fault| fault.position));
            let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
            for fault in &faults {
                let line = lines.get(fault.position.line - 1).expect("a fault lies in a line of the file");
                assert!((1..=line.len() + 1).contains(&fault.position.column), "{fault} lies beyond its line");
            }
            let error = ConfigError { file: "wg0.conf".to_owned(), faults };
            let text = error.to_string();
            assert_eq!(text.lines().count(), error.faults.len(), "a fault is a line: {text:?}");
            let is_base64 = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/');
            assert!(text.split(|letter| !is_base64(letter)).all(|run| run.len() < 43), "a key is told: {text:?}");
            assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        }
    }
}

fn check(config: Config) {
    let Config { private_key, listen_port, fwmark, peers, warnings } = config;
    assert!(warnings.iter().all(|warning| warning.to_string().lines().count() == 1));
    // Names of endpoints stay names: nothing is resolved here.
    let peers = peers.into_iter().map(|peer| peer.set).collect();
    let set = Set { private_key, listen_port, fwmark, replace_peers: true, peers };
    let mut text = Vec::new();
    write_set(&set, &mut text);
    let mut parser = RequestParser::new(std::sync::Arc::new(rvpn_uapi::no_scopes));
    assert_eq!(parser.next(&mut text.as_slice()), Some(RequestEvent::Request(Request::Set(set))));
}
