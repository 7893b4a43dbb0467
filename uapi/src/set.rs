//! What a `set` asks for, as one value: it is parsed whole before any of it acts.
//!
//! Not here: the text (see `request`) and how it is applied.

use std::net::SocketAddr;

use crate::allowed_ip::AllowedIpChange;
use crate::candidate::{Candidate, EndpointOrder};
use crate::key::{PublicKey, SecretKey};
use crate::name::PeerName;

/// A change of a device. `None` leaves things as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// The new private key; all zero removes it.
    pub private_key: Option<SecretKey>,
    /// The new UDP port; 0 lets the device choose.
    pub listen_port: Option<u16>,
    /// The new firewall mark; 0 removes it.
    pub fwmark: Option<u32>,
    /// Whether peers that this message does not name go.
    pub replace_peers: bool,
    /// Changes of peers, in the order of the message. A key may come twice; then they act one after the other.
    pub peers: Vec<PeerSet>,
}

/// A change of one peer, made if it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSet {
    /// Which peer.
    pub public_key: PublicKey,
    /// Remove the peer; every other change is then without effect. No error if it does not exist.
    pub remove: bool,
    /// Do nothing if the peer does not exist.
    pub update_only: bool,
    /// The new name; `Some(None)` takes it away. Only rvpn keeps names.
    pub name: Option<Option<PeerName>>,
    /// The new limit on what it may send, in bits a second; 0 takes it away. Only rvpn has limits.
    pub rate_up: Option<u64>,
    /// The new limit on what it may be sent, in bits a second; 0 takes it away.
    pub rate_down: Option<u64>,
    /// The new preshared key; all zero removes it.
    pub preshared_key: Option<SecretKey>,
    /// The new endpoint.
    pub endpoint: Option<SocketAddr>,
    /// Where it may be, in place of what was said before; none of them if it is empty. rvpn alone knows it.
    pub endpoints: Option<Vec<Candidate>>,
    /// Which of these is preferred. rvpn alone knows it.
    pub endpoint_order: Option<EndpointOrder>,
    /// The new interval of persistent keepalives, in seconds; 0 turns them off.
    pub persistent_keepalive: Option<u16>,
    /// Whether networks that this message does not name go.
    pub replace_allowed_ips: bool,
    /// Changes of allowed IPs, in order.
    pub allowed_ips: Vec<AllowedIpChange>,
}

impl PeerSet {
    /// Names a peer and changes nothing about it.
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            name: None,
            rate_up: None,
            rate_down: None,
            preshared_key: None,
            endpoint: None,
            endpoints: None,
            endpoint_order: None,
            persistent_keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}

impl Set {
    /// Tells whether it asks for something that only rvpn has: keys that begin with `rvpn_`, which other servers refuse.
    pub fn is_extended(&self) -> bool {
        self.peers.iter().any(PeerSet::is_extended)
    }

    /// Leaves out what only rvpn has.
    pub fn strip_extensions(&mut self) {
        self.peers.iter_mut().for_each(PeerSet::strip_extensions);
    }
}

impl PeerSet {
    const fn is_extended(&self) -> bool {
        self.name.is_some()
            || self.rate_up.is_some()
            || self.rate_down.is_some()
            || self.endpoints.is_some()
            || self.endpoint_order.is_some()
    }

    fn strip_extensions(&mut self) {
        (self.name, self.rate_up, self.rate_down) = (None, None, None);
        (self.endpoints, self.endpoint_order) = (None, None);
    }
}
