//! What went wrong, as facts with addresses: for each kind of trouble how often, when and with whom the last time.
//!
//! ```text
//!   handshakes, transmit, send, receive ──note──► Evidence (device)      PeerEvidence (in the peer's state)
//!                                                      └──── Device::evidence ────┘ ──► EvidenceSnapshot
//! ```
//! Written only where a handshake is made or a packet is refused; a packet that goes its way touches nothing here. Its
//! size is fixed: a later fact takes the place of an earlier one of its kind, so a flood fills nothing.
//!
//! Not here: how much was dropped (see `stats`), and what follows from it (the operator's side decides).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::device::Device;
use super::sync::{Mutex, lock};
use crate::proto::ip;
use crate::proto::keys::PublicKey;
use crate::proto::time::Instant;

/// Something that happened: how often, and the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting<T> {
    /// How often.
    pub count: u64,
    /// When last.
    pub at: Instant,
    /// What it was last.
    pub last: T,
}

/// Takes note of `last`, which happened `count` times at `now`.
pub(super) fn note<T>(place: &mut Option<Sighting<T>>, now: Instant, count: usize, last: T) {
    let before = place.as_ref().map_or(0, |sighting| sighting.count);
    *place = Some(Sighting { count: before.saturating_add(count as u64), at: now, last });
}

/// What went wrong without a peer of ours being part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// A handshake message whose mac1 does not verify: its sender has another public key for us.
    pub bad_mac1: Option<Sighting<SocketAddr>>,
    /// An initiation by a public key that is no peer's. The key is claimed, not proven.
    pub unknown_initiator: Option<Sighting<(PublicKey, SocketAddr)>>,
    /// A packet into the interface for an address that is in no peer's allowed IPs.
    pub no_peer: Option<Sighting<IpAddr>>,
}

/// What happened between us and a peer, apart from packets that went their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerEvidence {
    /// Initiations sent.
    pub initiations_sent: u64,
    /// Initiations sent since a handshake completed last.
    pub unanswered: u32,
    /// Responses sent since a handshake completed last: none of them was confirmed by a packet.
    pub unconfirmed: u32,
    /// Initiations accepted.
    pub initiations_received: u64,
    /// Responses accepted.
    pub responses_received: u64,
    /// Keepalives received.
    pub keepalives_received: u64,
    /// When a handshake completed last.
    pub completed_at: Option<Instant>,
    troubles: Option<Box<Troubles>>,
}

/// What went wrong with a peer. Most have none of it, so it is apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// A cookie reply instead of an answer: the peer is under load.
    pub cookie_reply: Option<Sighting<()>>,
    /// A response to our initiation that does not verify with our preshared key.
    pub bad_response: Option<Sighting<SocketAddr>>,
    /// An authentic initiation with a timestamp that is not newer than one accepted before.
    pub stale_timestamp: Option<Sighting<Stale>>,
    /// An authentic packet from an inner address that is not among the peer's allowed IPs.
    pub foreign_source: Option<Sighting<IpAddr>>,
    /// The socket refused a datagram to this address.
    pub not_sent: Option<Sighting<(SocketAddr, ErrorKind)>>,
    /// Packets for the peer were dropped because it has no endpoint.
    pub no_endpoint: Option<Sighting<()>>,
}

/// How far in the past an initiation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Behind the newest that was accepted; zero is that one again.
    pub behind: Duration,
    /// Where it came from.
    pub from: SocketAddr,
}

impl PeerEvidence {
    /// Returns what went wrong, for reading.
    pub fn troubles(&self) -> Troubles {
        self.troubles.as_deref().cloned().unwrap_or_default()
    }

    /// Returns what went wrong, for taking note of more.
    pub(super) fn trouble(&mut self) -> &mut Troubles {
        self.troubles.get_or_insert_default()
    }

    /// A handshake completed: what was tried before it has come to something.
    pub(super) fn completed(&mut self, now: Instant) {
        self.unanswered = 0;
        self.unconfirmed = 0;
        self.completed_at = Some(now);
    }

    /// An initiation was sent.
    pub(super) fn initiated(&mut self) {
        self.initiations_sent += 1;
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// A response was sent to an initiation that was accepted.
    pub(super) fn responded(&mut self) {
        self.initiations_received += 1;
        self.unconfirmed = self.unconfirmed.saturating_add(1);
    }
}

/// The evidence of one device.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    device: Mutex<DeviceEvidence>,
}

impl Evidence {
    /// Takes note of what concerns no peer.
    ///
    /// # Locking
    /// A mutex of its own, held for `change`; no other is taken under it.
    pub(super) fn note(&self, change: impl FnOnce(&mut DeviceEvidence)) {
        change(&mut lock(&self.device));
    }

    /// Takes note of packets that no peer is for. What hosts tell everybody around them unasked is no sign of anything.
    pub(super) fn no_peer<'a>(&self, now: Instant, packets: impl Iterator<Item = &'a [u8]>) {
        let destinations = packets.filter_map(|packet| ip::parse(packet).ok()).map(|header| header.dst);
        let mut count = 0;
        let last = destinations.filter(|&dst| is_asked_for(dst)).inspect(|_| count += 1).last();
        if let Some(last) = last {
            self.note(|device| note(&mut device.no_peer, now, count, last));
        }
    }
}

/// Tells whether an inner address is one that somebody chose to talk to, or from: not multicast, broadcast or of the link.
pub(super) fn is_asked_for(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_multicast() || v4.is_broadcast() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unicast_link_local() || v6.is_unspecified()),
    }
}

/// All evidence of a device at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceSnapshot {
    /// When it was taken.
    pub now: Instant,
    /// The device has sockets: its interface is up.
    pub is_up: bool,
    /// What concerns no peer.
    pub device: DeviceEvidence,
    /// The peers, in the order in which they were added.
    pub peers: Vec<(PublicKey, PeerEvidence)>,
}

impl Device {
    /// Returns what was seen so far. Peers are looked at one after the other.
    pub fn evidence(&self) -> EvidenceSnapshot {
        let peers = self.peers.all().into_iter().map(|peer| (peer.public_key, peer.state().evidence.clone())).collect();
        EvidenceSnapshot {
            now: self.platform.clock.now(),
            is_up: self.udp().is_some(),
            device: lock(&self.evidence.device).clone(),
            peers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_fact_takes_the_place_of_an_earlier_one_and_is_counted() {
        let mut place = None;
        note(&mut place, Instant::from_nanos(1), 2, "first");
        note(&mut place, Instant::from_nanos(5), 1, "second");
        assert_eq!(place, Some(Sighting { count: 3, at: Instant::from_nanos(5), last: "second" }));
    }

    #[test]
    fn what_hosts_tell_unasked_is_no_evidence() {
        for address in ["224.0.0.251", "255.255.255.255", "169.254.1.1", "ff02::2", "fe80::1", "::", "0.0.0.0"] {
            assert!(!is_asked_for(address.parse().expect("an address")), "{address}");
        }
        for address in ["192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert!(is_asked_for(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn a_handshake_that_completes_ends_the_count_of_those_that_did_not() {
        let mut peer = PeerEvidence::default();
        peer.initiated();
        peer.initiated();
        peer.responded();
        assert_eq!((peer.unanswered, peer.unconfirmed), (2, 1));
        peer.completed(Instant::from_nanos(9));
        assert_eq!((peer.unanswered, peer.unconfirmed, peer.initiations_sent), (0, 0, 2));
        assert_eq!(peer.completed_at, Some(Instant::from_nanos(9)));
    }
}
