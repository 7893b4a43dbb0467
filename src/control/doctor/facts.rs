//! What is known of a tunnel when a diagnosis is made: everything it may stand on, and nothing else.
//!
//! Not here: how it is found out (see `examine`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rvpn_uapi::AllowedIp;

use super::ruleset::Culprit;
use super::testimony::{PeerTestimony, Testimony};
use crate::platform::linux::tap::IcmpError;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The interface.
    pub interface: String,
    /// What the calendar says, in seconds since the epoch.
    pub calendar: u64,
    /// The interface as it is in this network namespace; `None` if it is not.
    pub link: Option<LinkFacts>,
    /// Our public key, as text; `None` without a private key.
    pub public_key: Option<String>,
    /// The UDP port; 0 if there is none.
    pub listen_port: u16,
    /// What the daemon has seen; `None` of another program, or of the kernel's driver.
    pub testimony: Option<Testimony>,
    /// What was seen on the wire; `None` if nobody looked.
    pub watched: Option<Watched>,
    /// What drops datagrams that come in for our port.
    pub drops_incoming: Option<Culprit>,
    /// What drops datagrams that go out from our port.
    pub drops_outgoing: Option<Culprit>,
    /// Why the reverse path filter drops what comes from a peer's endpoint, if it does.
    pub reverse_path_outside: Option<String>,
    /// Packets from this interface must come from where their answers would go: the strict reverse path filter.
    pub is_reverse_path_strict: bool,
    /// What limits the speed.
    pub speed: Speed,
    /// The peers.
    pub peers: Vec<PeerFacts>,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Administratively up.
    pub is_up: bool,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

/// What came to our port while somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How long it was looked at.
    pub duration: Duration,
    /// Handshake messages and cookie replies that came for our port.
    pub arrived: u64,
    /// Where the last of them came from.
    pub from: Option<SocketAddr>,
    /// Those that the daemon knows of.
    pub heard: u64,
}

/// What limits the speed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speed {
    /// Why nothing is left to the kernel's segmentation: `None` if it is, or is not known.
    pub offloads_off: Option<String>,
    /// The thread that used most of one core while somebody looked, and its share.
    pub busiest: Option<(String, f64)>,
    /// Datagrams that did not fit the sockets' receive buffers, and what such a buffer may be at most, in bytes.
    pub overflown: Option<(u64, u64)>,
}

/// A peer.
#[derive(Clone, Debug, Default)]
pub struct PeerFacts {
    /// Its public key, as text.
    pub public_key: String,
    /// What people call it.
    pub called: Option<String>,
    /// Where datagrams go.
    pub endpoint: Option<SocketAddr>,
    /// Its endpoint, if that is a name.
    pub name: Option<NamedEndpoint>,
    /// The networks routed to it.
    pub allowed_ips: Vec<AllowedIp>,
    /// How long ago the last handshake was; `None` if never.
    pub handshake: Option<Duration>,
    /// The last handshake is in the future of the calendar.
    pub is_handshake_in_future: bool,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// What the daemon has seen of it.
    pub testimony: PeerTestimony,
    /// There is no route to its endpoint.
    pub has_no_route: bool,
    /// Networks of it that the machine sends elsewhere, and where; `None` is nowhere.
    pub astray: Vec<(AllowedIp, Option<String>)>,
    /// What was seen on the wire.
    pub watched: PeerWatched,
    /// What came of pings through the tunnel.
    pub probe: Option<Probe>,
}

/// An endpoint that is a name: the daemon's own, or else the configuration file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// Name and port; of several, the one that has no address, or all of them.
    pub text: String,
    /// Where it points now, or why that is nowhere.
    pub addresses: Result<Vec<SocketAddr>, String>,
    /// The daemon looks it up by itself, again and again.
    pub is_followed: bool,
}

/// What was seen of a peer on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerWatched {
    /// Initiations that left this machine for its endpoint.
    pub sent: u64,
    /// Datagrams that came from its endpoint.
    pub answered: u64,
    /// An ICMP error about what was sent there, and who says so.
    pub error: Option<(IcmpError, IpAddr)>,
}

/// Pings to one address of a peer, through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The address.
    pub address: IpAddr,
    /// It is the peer's for sure, not one that was guessed out of a network.
    pub is_certain: bool,
    /// It answers.
    pub answers: bool,
    /// The longest packet that comes back, in bytes, where the interface would take longer ones.
    pub hole: Option<u32>,
}

impl Facts {
    /// Returns whether any peer has no session.
    pub(super) fn is_any_without_session(&self) -> bool {
        self.peers.iter().any(|peer| !peer.is_connected())
    }

    /// Returns the peer that an inner address is routed to, by the most specific of all allowed IPs.
    pub(super) fn peer_of(&self, address: IpAddr) -> Option<&PeerFacts> {
        let networks = self.peers.iter().flat_map(|peer| peer.allowed_ips.iter().map(move |network| (network, peer)));
        networks
            .filter(|(network, _)| contains(network, address))
            .max_by_key(|(network, _)| network.prefix_len())
            .map(|(_, peer)| peer)
    }
}

impl PeerFacts {
    /// Returns what tells it from other peers: its name, or the start of its public key.
    pub fn label(&self) -> String {
        label(self.called.as_deref(), &self.public_key)
    }

    /// A session may be used for three minutes; if it is, a new one takes its place before.
    pub fn is_connected(&self) -> bool {
        self.since_handshake().is_some_and(|age| age < SESSION) || self.is_handshake_in_future
    }

    /// Returns how long ago a handshake completed: by the daemon's clock, which nobody sets, where it tells.
    pub fn since_handshake(&self) -> Option<Duration> {
        self.testimony.completed.map(Duration::from_millis).or(self.handshake)
    }

    /// Returns whether somebody tries to talk: else that there is no session is no fault.
    pub(super) fn is_trying(&self) -> bool {
        let PeerTestimony { unanswered, unconfirmed, .. } = self.testimony;
        unanswered > 0 || unconfirmed > 0 || self.watched.sent > 0
    }

    /// Returns whether what happened `age` milliseconds ago is newer than the last handshake.
    pub(super) fn is_unmended(&self, age: u64) -> bool {
        self.since_handshake().is_none_or(|completed| Duration::from_millis(age) < completed)
    }
}

/// The name of a peer, or the start of its public key, which is enough to tell it from others.
pub fn label(called: Option<&str>, public_key: &str) -> String {
    called.map_or_else(|| format!("{}…", public_key.get(..8).unwrap_or(public_key)), str::to_owned)
}

/// Tells whether `network` has `address` in it.
pub(super) fn contains(network: &AllowedIp, address: IpAddr) -> bool {
    let same_family = network.address().is_ipv4() == address.is_ipv4();
    same_family
        && AllowedIp::new(address, network.prefix_len()).is_some_and(|other| other.address() == network.address())
}

const SESSION: Duration = Duration::from_secs(180);
