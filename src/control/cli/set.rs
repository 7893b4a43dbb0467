//! `rvpn set`: words to one change.
//!
//! Source: wg(8), `set`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use rvpn_uapi::{Candidate, MAX_CANDIDATES, PeerName, PeerSet, PublicKey, Set};

use super::failure::Failure;
use super::peer_word::Peers;
use super::{secret_file, setconf, warn};
use crate::control::client::Client;
use crate::control::config::value;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to change.
    interface: OsString,
    /// What to change: words of wg(8).
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CHANGE",
        help = CHANGES,
        long_help = [CHANGES, "\n\n", DETAILS].concat()
    )]
    changes: Vec<OsString>,
}

const CHANGES: &str = "\
What to change: [listen-port PORT] [fwmark MARK] [private-key FILE] [peer PUBLIC_KEY|NAME [remove] [name NAME] [rate-up BITS] \
[rate-down BITS] [preshared-key FILE] [endpoint HOST:PORT] [endpoints HOST:PORT,...] [endpoint-order fastest|strict] \
[persistent-keepalive SECONDS] [allowed-ips ADDRESS/LENGTH,...]]...";

const DETAILS: &str = "\
Keys are read from files, because others can see the arguments of a program. /dev/null stands for no key, `off` for no \
mark and no keepalive. Allowed IPs replace those there are; with `+` or `-` before it, one is added or \
removed. An empty name takes a name away; rates are bits a second, as in 20M, up as the peer sends, and `off` is no \
limit. Of several endpoints, by name or address, the one that answers first is \
used until it is silent, or with `strict` the first of the list that answers; names are looked up again and again.";

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let peers = Peers::of(client, &arguments.interface);
    let set = read(&arguments.changes, |word| peers.find(word))?;
    if set.is_extended() && !client.is_rvpn(&arguments.interface)? {
        let expected = "only rvpn has them, and another WireGuard runs this interface".to_owned();
        return Err(Failure::Word { word: "names, rates and lists of endpoints".to_owned(), expected });
    }
    Ok(client.apply(&arguments.interface, &set)?)
}

/// Reads the words. Nothing is changed if one of them is wrong. `find` tells whose key or name a word is.
fn read(words: &[OsString], find: impl Fn(&OsStr) -> Result<PublicKey, Failure>) -> Result<Set, Failure> {
    let mut set = Set::default();
    let mut words = words.iter().map(OsString::as_os_str);
    while let Some(word) = words.next() {
        let name = word.to_str().unwrap_or_default();
        let words_here: &[&str] = if set.peers.is_empty() { &DEVICE_WORDS } else { &PEER_WORDS };
        if !words_here.contains(&name) {
            let expected = format!("expected one of {}", words_here.join(", "));
            return Err(Failure::Word { word: format!("`{}`", word.display()), expected });
        }
        if name == "remove" {
            set.peers.last_mut().expect("words of a peer come after one").remove = true;
            continue;
        }
        let value = words.next().ok_or_else(|| Failure::Word {
            word: format!("`{name}`"),
            expected: "expected a value after it".to_owned(),
        })?;
        match name {
            "peer" => set.peers.push(PeerSet::new(find(value)?)),
            _ => change(&mut set, name, value)?,
        }
    }
    for peer in &mut set.peers {
        if peer.remove {
            // Nothing else about it has a meaning, and a server may not know that.
            *peer = PeerSet { remove: true, ..PeerSet::new(peer.public_key) };
        }
    }
    Ok(set)
}

const DEVICE_WORDS: [&str; 4] = ["listen-port", "fwmark", "private-key", "peer"];
const PEER_WORDS: [&str; 11] = [
    "remove",
    "preshared-key",
    "endpoint",
    "endpoints",
    "endpoint-order",
    "persistent-keepalive",
    "allowed-ips",
    "name",
    "rate-up",
    "rate-down",
    "peer",
];

fn change(set: &mut Set, name: &str, value: &OsStr) -> Result<(), Failure> {
    let bytes = value.as_bytes();
    let bad = |expected: &str| Failure::Word {
        word: format!("{name} `{}`", value.to_string_lossy().escape_debug()),
        expected: expected.to_owned(),
    };
    match (name, set.peers.last_mut()) {
        ("listen-port", _) => set.listen_port = Some(value::port(bytes).map_err(bad)?),
        ("fwmark", _) => set.fwmark = Some(value::fwmark(bytes).map_err(bad)?),
        ("private-key", _) => set.private_key = Some(secret_file::read_key(name, value)?),
        ("preshared-key", Some(peer)) => peer.preshared_key = Some(secret_file::read_key(name, value)?),
        ("persistent-keepalive", Some(peer)) => {
            peer.persistent_keepalive = Some(value::persistent_keepalive(bytes).map_err(bad)?);
        }
        ("name", Some(peer)) => {
            let name = || value.to_str().and_then(PeerName::new).ok_or_else(|| bad(PeerName::EXPECTED));
            peer.name = Some(if value.is_empty() { None } else { Some(name()?) });
        }
        ("rate-up", Some(peer)) => peer.rate_up = Some(value::rate(bytes).map_err(bad)?),
        ("rate-down", Some(peer)) => peer.rate_down = Some(value::rate(bytes).map_err(bad)?),
        ("endpoint", Some(peer)) => {
            let endpoint = value::endpoint(bytes).map_err(bad)?;
            let resolved = endpoint.resolve(setconf::retries()?, |error, pause| setconf::wait(&endpoint, error, pause));
            peer.endpoint = Some(resolved.map_err(|error| bad(&error.to_string()))?);
        }
        ("endpoints", Some(peer)) => peer.endpoints = Some(candidates(bytes)?),
        ("endpoint-order", Some(peer)) => peer.endpoint_order = Some(value::endpoint_order(bytes).map_err(bad)?),
        ("allowed-ips", Some(peer)) => allowed_ips(peer, bytes)?,
        (name, _) => unreachable!("`{name}` is not one of the words that were looked for"),
    }
    Ok(())
}

/// Reads a list of places; an empty one takes away those there are.
fn candidates(list: &[u8]) -> Result<Vec<Candidate>, Failure> {
    let list: Vec<u8> = list.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let bad = |item: &[u8], expected: &str| Failure::Word {
        word: format!("endpoints `{}`", String::from_utf8_lossy(item).escape_debug()),
        expected: expected.to_owned(),
    };
    let found: Vec<_> = value::items(&list)
        .map(|(_, item)| value::candidate(item).map_err(|expected| bad(item, expected)))
        .collect::<Result<_, _>>()?;
    if found.len() > MAX_CANDIDATES { Err(bad(&list, "expected no more than 16 of them")) } else { Ok(found) }
}

fn allowed_ips(peer: &mut PeerSet, list: &[u8]) -> Result<(), Failure> {
    peer.replace_allowed_ips = true;
    let list: Vec<u8> = list.iter().copied().filter(|&byte| byte != 0x0b && !byte.is_ascii_whitespace()).collect();
    if list.is_empty() {
        return Ok(());
    }
    for (_, item) in value::items(&list) {
        let text = String::from_utf8_lossy(item);
        let found = value::allowed_ip(item).map_err(|expected| Failure::Word {
            word: format!("allowed-ips `{}`", text.escape_debug()),
            expected: expected.to_owned(),
        })?;
        if found.has_host_bits {
            warn(&format!("allowed-ips `{text}`: bits beyond the prefix do not count"));
        }
        peer.replace_allowed_ips &= !found.is_increment;
        peer.allowed_ips.push(found.change);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn set(words: &[&str]) -> Result<Set, String> {
        let find = |word: &OsStr| match word.to_str() {
            Some("alice") => Ok(PublicKey([1; 32])),
            _ => Peers::of(&Client::new("/nonexistent".into()), "wg0".as_ref()).find(word),
        };
        read(&words.iter().map(OsString::from).collect::<Vec<_>>(), find).map_err(|failure| failure.to_string())
    }

    #[test]
    fn words_of_a_peer_belong_to_the_last_one_named() {
        let set = set(&["listen-port", "7", "fwmark", "off", "peer", KEY, "allowed-ips", "1.2.3.4, ::/0", "peer", KEY])
            .expect("valid");
        assert_eq!((set.listen_port, set.fwmark), (Some(7), Some(0)));
        assert_eq!(set.peers.iter().map(|peer| peer.allowed_ips.len()).collect::<Vec<_>>(), [2, 0]);
        assert!(set.peers[0].replace_allowed_ips && !set.peers[1].replace_allowed_ips);
    }

    #[test]
    fn a_peer_that_is_removed_is_only_removed() {
        let set = set(&["peer", KEY, "persistent-keepalive", "25", "remove", "allowed-ips", ""]).expect("valid");
        assert_eq!(set.peers, [PeerSet { remove: true, ..PeerSet::new(PublicKey([1; 32])) }]);
    }

    #[test]
    fn a_name_stands_for_a_peer_and_is_given_and_taken() {
        let name = |words: &[&str]| set(words).expect("valid").peers.remove(0).name;
        assert_eq!(name(&["peer", "alice", "name", "bob"]), Some(PeerName::new("bob")));
        assert_eq!(name(&["peer", KEY, "name", ""]), Some(None));
        assert_eq!(name(&["peer", KEY]), None);
    }

    #[test]
    fn no_allowed_ips_replace_those_there_are_and_signs_do_not() {
        let peer = |list: &str| set(&["peer", KEY, "allowed-ips", list]).expect("valid").peers.remove(0);
        assert!(peer("").replace_allowed_ips && peer(" ").allowed_ips.is_empty());
        assert!(!peer("+10.0.0.0/8,-10.1.0.0/16").replace_allowed_ips);
    }

    #[test]
    fn a_wrong_word_is_told_with_what_could_stand_there() {
        for (words, told) in [
            (&["remove"][..], "`remove`: expected one of listen-port,"),
            (&["endpoint", "1.1.1.1:1"], "`endpoint`: expected one of listen-port,"),
            (&["peer", KEY, "fwmark", "1"], "`fwmark`: expected one of remove,"),
            (&["listen-port"], "`listen-port`: expected a value after it"),
            (&["fwmark", "x"], "fwmark `x`: expected a firewall mark"),
            (&["peer", "x#"], "peer `x#`: expected a key of 44 characters"),
            (&["peer", "x"], "wg0: no WireGuard runs on it"),
            (&["peer", KEY, "name", "a\tb"], "name `a\\tb`: expected a name: 1 to 64 bytes"),
            (&["private-key", "/nonexistent"], "/nonexistent: cannot open it: no such file or directory"),
            (&["peer", KEY, "allowed-ips", "1.1.1.1,x"], "allowed-ips `x`: expected an address"),
        ] {
            let error = set(words).expect_err("a wrong word");
            assert!(error.starts_with(told), "{error}");
        }
    }
}
