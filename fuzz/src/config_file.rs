//! Configuration files of `wg` and `wg-quick`, and those of a directory of peers, as a person may write them.

use rvpn::control::config::{Config, ConfigError, Fault, Peer};
use rvpn::control::quick::file::strip;
use rvpn_uapi::{Request, RequestEvent, RequestParser, Set, write_set};

/// Reads a file as each of the three. Every fault lies in it, is one line, and has no key in it; a file without a fault
/// is a request that a server takes. What `up` reads says the same to `setconf` when it is stripped.
pub fn run(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => check(config),
        Err(faults) => check_faults(bytes, faults),
    }
    match Config::parse_quick(bytes) {
        Ok((config, _)) => {
            let stripped = Config::parse(&strip(bytes)).expect("a sound file stays so");
            assert_eq!(said(&stripped), said(&config));
            check(config);
        }
        Err(faults) => check_faults(bytes, faults),
    }
    match Config::parse_peer(bytes) {
        Ok(peer) => check_set(Set { peers: vec![peer.set], ..Set::default() }),
        Err(faults) => check_faults(bytes, faults),
    }
}

fn check_faults(bytes: &[u8], faults: Vec<Fault>) {
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

fn check(config: Config) {
    let Config { private_key, listen_port, fwmark, peers, warnings } = config;
    assert!(warnings.iter().all(|warning| warning.to_string().lines().count() == 1));
    // Names of endpoints stay names: nothing is resolved here.
    let peers = peers.into_iter().map(|peer| peer.set).collect();
    check_set(Set { private_key, listen_port, fwmark, replace_peers: true, peers });
}

fn check_set(set: Set) {
    let mut text = Vec::new();
    write_set(&set, &mut text);
    let mut parser = RequestParser::new(std::sync::Arc::new(rvpn_uapi::no_scopes));
    assert_eq!(parser.next(&mut text.as_slice()), Some(RequestEvent::Request(Request::Set(set))));
}

/// All that a file says, but where.
fn said(config: &Config) -> impl PartialEq + std::fmt::Debug + '_ {
    let Config { private_key, listen_port, fwmark, peers, warnings: _ } = config;
    let peer = |peer: &Peer| (peer.set.clone(), peer.endpoint.as_ref().map(|(_, endpoint)| endpoint.to_string()));
    (private_key, listen_port, fwmark, peers.iter().map(peer).collect::<Vec<_>>())
}
