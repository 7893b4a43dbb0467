//! What a daemon says of what went wrong, as both ends of the configuration socket know it.
//!
//! One line of JSON under one key: it has structure, and both ends are this program. A command that is newer than the
//! daemon finds what it does not know missing; an older one skips what it does not know.
//!
//! Not here: where it is collected (see `dataplane::evidence`), what follows from it (see `diagnose`).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::key_text;
use crate::dataplane::evidence::{self, EvidenceSnapshot};
use crate::proto::keys::PublicKey;
use crate::proto::time::Instant;

/// The key of the line.
pub const KEY: &str = "testimony";

/// Something that happened: how often, and the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting<T> {
    /// How often.
    pub count: u64,
    /// How long ago the last time was, in milliseconds.
    pub age: u64,
    /// What it was the last time.
    pub last: T,
}

/// All that a daemon says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Testimony {
    /// Its process.
    pub process: u32,
    /// It has sockets: its interface is up.
    pub is_up: bool,
    /// A handshake message by somebody who has another public key for us.
    pub bad_mac1: Option<Sighting<SocketAddr>>,
    /// An initiation by a public key that is no peer's.
    pub unknown_initiator: Option<Sighting<(String, SocketAddr)>>,
    /// A packet for an address that is in no peer's allowed IPs.
    pub no_peer: Option<Sighting<IpAddr>>,
    /// The peers.
    pub peers: Vec<PeerTestimony>,
}

/// What a daemon says of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerTestimony {
    /// Which peer: its public key.
    pub public_key: String,
    /// Initiations sent.
    pub initiations_sent: u64,
    /// Those since a handshake completed last.
    pub unanswered: u32,
    /// Responses since a handshake completed last.
    pub unconfirmed: u32,
    /// Initiations accepted.
    pub initiations_received: u64,
    /// Responses accepted.
    pub responses_received: u64,
    /// Keepalives received.
    pub keepalives_received: u64,
    /// How long ago a handshake completed last, in milliseconds.
    pub completed: Option<u64>,
    /// Cookie replies.
    pub cookie_reply: Option<Sighting<()>>,
    /// Responses that do not verify with our preshared key.
    pub bad_response: Option<Sighting<SocketAddr>>,
    /// Initiations with a timestamp in the past, and by how many milliseconds.
    pub stale_timestamp: Option<Sighting<(u64, SocketAddr)>>,
    /// Packets from an inner address that is not the peer's.
    pub foreign_source: Option<Sighting<IpAddr>>,
    /// Datagrams that the socket refused.
    pub not_sent: Option<Sighting<(SocketAddr, SendError)>>,
    /// Packets dropped because there is no endpoint.
    pub no_endpoint: Option<Sighting<()>>,
}

/// Why a socket refuses a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendError {
    /// A packet filter of this machine dropped it.
    Filtered,
    /// There is no route.
    NoRoute,
    /// Anything else.
    #[serde(other)]
    Other,
}

impl Testimony {
    /// Takes what the data plane has collected.
    pub fn of(process: u32, seen: EvidenceSnapshot) -> Self {
        let now = seen.now;
        Self {
            process,
            is_up: seen.is_up,
            bad_mac1: sighting(now, seen.device.bad_mac1, |from| from),
            unknown_initiator: sighting(now, seen.device.unknown_initiator, |(key, from)| (key_of(key), from)),
            no_peer: sighting(now, seen.device.no_peer, |dst| dst),
            peers: seen.peers.into_iter().map(|(key, peer)| PeerTestimony::of(now, key, &peer)).collect(),
        }
    }

    /// Reads the line; `None` if it is none. Keys are keys: they are shown, also in commands to be copied, and the other
    /// side may be in the wrong hands.
    pub fn read(line: &str) -> Option<Self> {
        let said: Self = serde_json::from_str(line).ok()?;
        let stranger = said.unknown_initiator.as_ref().map(|seen| &seen.last.0);
        let mut keys = said.peers.iter().map(|peer| &peer.public_key).chain(stranger);
        keys.all(|key| key_text::decode(key.as_bytes()).is_some()).then_some(said)
    }

    /// Returns what is said of the peer with this public key.
    pub fn peer(&self, public_key: &str) -> Option<&PeerTestimony> {
        self.peers.iter().find(|peer| peer.public_key == public_key)
    }
}

impl PeerTestimony {
    fn of(now: Instant, public_key: PublicKey, seen: &evidence::PeerEvidence) -> Self {
        let troubles = seen.troubles();
        Self {
            public_key: key_of(public_key),
            initiations_sent: seen.initiations_sent,
            unanswered: seen.unanswered,
            unconfirmed: seen.unconfirmed,
            initiations_received: seen.initiations_received,
            responses_received: seen.responses_received,
            keepalives_received: seen.keepalives_received,
            completed: seen.completed_at.map(|at| millis(now.since(at))),
            cookie_reply: sighting(now, troubles.cookie_reply, |()| ()),
            bad_response: sighting(now, troubles.bad_response, |from| from),
            stale_timestamp: sighting(now, troubles.stale_timestamp, |stale| (millis(stale.behind), stale.from)),
            foreign_source: sighting(now, troubles.foreign_source, |src| src),
            not_sent: sighting(now, troubles.not_sent, |(to, kind)| (to, SendError::of(kind))),
            no_endpoint: sighting(now, troubles.no_endpoint, |()| ()),
        }
    }
}

impl SendError {
    const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::PermissionDenied => Self::Filtered,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Self::NoRoute,
            _ => Self::Other,
        }
    }
}

fn sighting<T, U>(now: Instant, seen: Option<evidence::Sighting<T>>, turn: impl FnOnce(T) -> U) -> Option<Sighting<U>> {
    seen.map(|seen| Sighting { count: seen.count, age: millis(now.since(seen.at)), last: turn(seen.last) })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn key_of(key: PublicKey) -> String {
    key_text::encode(&key.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_the_same_and_what_is_missing_is_nothing() {
        let from: SocketAddr = "[2001:db8::1%3]:51820".parse().expect("an address");
        let peer = PeerTestimony {
            public_key: key_of(PublicKey([1; 32])),
            completed: Some(7),
            not_sent: Some(Sighting { count: 3, age: 5, last: (from, SendError::Filtered) }),
            cookie_reply: Some(Sighting { count: 1, age: 2, last: () }),
            ..PeerTestimony::default()
        };
        let said = Testimony {
            unknown_initiator: Some(Sighting { count: 1, age: 0, last: (key_of(PublicKey([2; 32])), from) }),
            peers: vec![peer],
            ..Testimony::default()
        };
        let text = serde_json::to_string(&said).expect("it is made of text and numbers");
        assert!(!text.contains('\n'));
        assert_eq!(Testimony::read(&text).expect("JSON"), said);
        let little = Testimony::read(r#"{"is_up":true,"what_a_later_release_says":1}"#);
        assert_eq!(little.expect("JSON"), Testimony { is_up: true, ..Testimony::default() });
    }

    #[test]
    fn keys_are_keys_and_no_words_for_a_terminal() {
        let from: SocketAddr = "192.0.2.1:7".parse().expect("an address");
        for key in ["", "$(reboot)", "\u{1b}]0;x\u{7}", "8S2kAAAA"] {
            let peers = vec![PeerTestimony { public_key: key.to_owned(), ..PeerTestimony::default() }];
            let unknown_initiator = Some(Sighting { count: 1, age: 0, last: (key.to_owned(), from) });
            for said in
                [Testimony { peers, ..Testimony::default() }, Testimony { unknown_initiator, ..Testimony::default() }]
            {
                assert_eq!(Testimony::read(&serde_json::to_string(&said).expect("texts")), None, "{key:?}");
            }
        }
    }

    #[test]
    fn ages_are_those_at_the_moment_of_the_answer() {
        let mut seen = EvidenceSnapshot { now: Instant::from_nanos(9_000_000), ..EvidenceSnapshot::default() };
        let last = "192.0.2.1".parse().expect("an address");
        seen.device.no_peer = Some(evidence::Sighting { count: 4, at: Instant::from_nanos(2_000_000), last });
        assert_eq!(Testimony::of(1, seen).no_peer, Some(Sighting { count: 4, age: 7, last }));
    }
}
