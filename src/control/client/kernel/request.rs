//! A change as messages to the driver.
//!
//! A message and an attribute have a greatest length, so a change of many peers is several messages, and a peer with
//! many allowed IPs goes on in the next. Each acts when it is sent: a change of the kernel's device is not all or nothing.
//!
//! ```text
//! NAME, keys, port, mark, PEERS[ a: everything, IPs 1..n ]
//! NAME,                   PEERS[ a: IPs n+1.. ][ b: everything ] ...
//! ```
//!
//! Written as bytes and not with the types of `netlink-packet-wireguard`, which keep keys where nobody wipes them; that
//! crate is the judge in the tests.
//!
//! Source: Linux uapi/linux/wireguard.h, WG_CMD_SET_DEVICE.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::NLA_F_NESTED;
use rvpn_uapi::{AllowedIpChange, PeerSet, Set};
use zeroize::Zeroizing;

use super::attribute as kind;
use crate::platform::linux::wireguard_driver::HEADERS_LEN;

/// The messages of one change, one after another in the same room.
pub(super) struct Requests<'a> {
    interface: &'a str,
    set: &'a Set,
    max_len: usize,
    /// What the next message begins with; `None` when all is said.
    next: Option<Place>,
    message: Attributes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Device,
    /// A peer, and the first of its allowed IPs that is not said yet.
    Peer(usize, usize),
}

impl<'a> Requests<'a> {
    /// Begins a change of `interface` in messages of at most `max_len` bytes, at least [`MIN_LEN`].
    pub(super) fn new(interface: &'a str, set: &'a Set, max_len: usize) -> Self {
        Self { interface, set, max_len, next: Some(Place::Device), message: Attributes::new(max_len) }
    }

    /// Writes the next message, with room for the headers at its beginning; `None` after the last.
    pub(super) fn next(&mut self) -> Option<&mut [u8]> {
        let place = self.next?;
        self.message.clear();
        self.message.text(kind::DEVICE_IFNAME, self.interface);
        let peer = match place {
            Place::Device => {
                self.device();
                (0, 0)
            }
            Place::Peer(peer, allowed_ip) => (peer, allowed_ip),
        };
        self.next = self.peers(peer);
        Some(&mut self.message.0)
    }

    fn device(&mut self) {
        let Set { private_key, listen_port, fwmark, replace_peers, .. } = self.set;
        if let Some(key) = private_key {
            self.message.bytes(kind::DEVICE_PRIVATE_KEY, key.as_bytes());
        }
        if let Some(port) = listen_port {
            self.message.bytes(kind::DEVICE_LISTEN_PORT, &port.to_ne_bytes());
        }
        if let Some(mark) = fwmark {
            self.message.bytes(kind::DEVICE_FWMARK, &mark.to_ne_bytes());
        }
        if *replace_peers {
            self.message.bytes(kind::DEVICE_FLAGS, &kind::DEVICE_REPLACE_PEERS.to_ne_bytes());
        }
    }

    /// Writes as many peers as fit, from the one and its allowed IP named by `place`; returns where the next message
    /// begins.
    fn peers(&mut self, place: (usize, usize)) -> Option<Place> {
        let (mut at, mut first) = place;
        if at == self.set.peers.len() {
            return None;
        }
        let list = self.message.begin(kind::DEVICE_PEERS);
        let next = loop {
            let Some(peer) = self.set.peers.get(at) else { break None };
            if self.room() < PEER_LEN {
                break Some(Place::Peer(at, 0));
            }
            let last = self.peer(peer, first);
            if last < peer.allowed_ips.len() {
                break Some(Place::Peer(at, last));
            }
            (at, first) = (at + 1, 0);
        };
        self.message.end(list);
        next
    }

    /// Writes a peer with its allowed IPs from `first` on, as many as fit; returns the first that does not.
    fn peer(&mut self, peer: &PeerSet, first: usize) -> usize {
        let attribute = self.message.begin(0);
        self.message.bytes(kind::PEER_PUBLIC_KEY, &peer.public_key.0);
        let mut flags = 0;
        if peer.update_only {
            flags |= kind::PEER_UPDATE_ONLY;
        }
        if peer.remove {
            flags |= kind::PEER_REMOVE;
        }
        if first == 0 {
            if peer.replace_allowed_ips {
                flags |= kind::PEER_REPLACE_ALLOWED_IPS;
            }
            self.peer_values(peer);
        }
        if flags != 0 {
            self.message.bytes(kind::PEER_FLAGS, &flags.to_ne_bytes());
        }
        let mut next = first;
        if !peer.allowed_ips.is_empty() {
            let list = self.message.begin(kind::PEER_ALLOWED_IPS);
            while let Some(change) = peer.allowed_ips.get(next)
                && self.room() >= ALLOWED_IP_LEN
            {
                self.allowed_ip(*change);
                next += 1;
            }
            self.message.end(list);
        }
        self.message.end(attribute);
        next
    }

    fn peer_values(&mut self, peer: &PeerSet) {
        if let Some(key) = &peer.preshared_key {
            self.message.bytes(kind::PEER_PRESHARED_KEY, key.as_bytes());
        }
        if let Some(endpoint) = peer.endpoint {
            let (bytes, len) = socket_address(endpoint);
            self.message.bytes(kind::PEER_ENDPOINT, &bytes[..len]);
        }
        if let Some(interval) = peer.persistent_keepalive {
            self.message.bytes(kind::PEER_KEEPALIVE, &interval.to_ne_bytes());
        }
    }

    fn allowed_ip(&mut self, change: AllowedIpChange) {
        let (AllowedIpChange::Add(network) | AllowedIpChange::Remove(network)) = change;
        let attribute = self.message.begin(0);
        match network.address() {
            IpAddr::V4(address) => {
                self.message.bytes(kind::ALLOWED_IP_FAMILY, &kind::FAMILY_V4.to_ne_bytes());
                self.message.bytes(kind::ALLOWED_IP_ADDRESS, &address.octets());
            }
            IpAddr::V6(address) => {
                self.message.bytes(kind::ALLOWED_IP_FAMILY, &kind::FAMILY_V6.to_ne_bytes());
                self.message.bytes(kind::ALLOWED_IP_ADDRESS, &address.octets());
            }
        }
        self.message.bytes(kind::ALLOWED_IP_CIDR, &[network.prefix_len()]);
        if matches!(change, AllowedIpChange::Remove(_)) {
            self.message.bytes(kind::ALLOWED_IP_FLAGS, &kind::ALLOWED_IP_REMOVE.to_ne_bytes());
        }
        self.message.end(attribute);
    }

    fn room(&self) -> usize {
        self.max_len - self.message.0.len()
    }
}

/// Writes a question for the state of `interface`, with room for the headers at its beginning.
pub(super) fn question(interface: &str) -> Zeroizing<Vec<u8>> {
    let mut message = Attributes::new(HEADERS_LEN + 64);
    message.text(kind::DEVICE_IFNAME, interface);
    message.0
}

/// struct sockaddr_in or sockaddr_in6, and its length.
fn socket_address(address: SocketAddr) -> ([u8; 28], usize) {
    let mut bytes = [0; 28];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            bytes[..2].copy_from_slice(&kind::FAMILY_V4.to_ne_bytes());
            bytes[4..8].copy_from_slice(&address.ip().octets());
            (bytes, 16)
        }
        SocketAddr::V6(address) => {
            bytes[..2].copy_from_slice(&kind::FAMILY_V6.to_ne_bytes());
            bytes[8..24].copy_from_slice(&address.ip().octets());
            bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
            (bytes, 28)
        }
    }
}

/// Attributes one after another, after room for the headers. Never grows, so that no copy of a key stays behind.
struct Attributes(Zeroizing<Vec<u8>>);

/// Where an attribute began that holds others.
struct Nested(usize);

impl Attributes {
    fn new(max_len: usize) -> Self {
        let mut bytes = Vec::with_capacity(max_len);
        bytes.resize(HEADERS_LEN, 0);
        Self(Zeroizing::new(bytes))
    }

    fn clear(&mut self) {
        self.0.truncate(HEADERS_LEN);
    }

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        let len = HEADER_LEN + value.len();
        debug_assert!(self.0.len() + len.next_multiple_of(4) <= self.0.capacity(), "it would grow");
        self.0.extend_from_slice(&(len as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        let padded = self.0.len().next_multiple_of(4);
        self.0.resize(padded, 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = [0; MAX_NAME_LEN + 1];
        bytes[..value.len()].copy_from_slice(value.as_bytes());
        self.bytes(kind, &bytes[..=value.len()]);
    }

    fn begin(&mut self, kind: u16) -> Nested {
        let nested = Nested(self.0.len());
        self.bytes(kind | NLA_F_NESTED, &[]);
        nested
    }

    /// Fills in the length of an attribute that holds all that was written since it began.
    fn end(&mut self, nested: Nested) {
        let len = (self.0.len() - nested.0) as u16;
        self.0[nested.0..nested.0 + 2].copy_from_slice(&len.to_ne_bytes());
    }
}

/// struct nlattr.
const HEADER_LEN: usize = 4;
/// IFNAMSIZ, less the zero byte at the end.
pub(super) const MAX_NAME_LEN: usize = 15;
/// An allowed IP at its longest: four attributes in one.
const ALLOWED_IP_LEN: usize = 4 + 8 + 20 + 8 + 8;
/// A peer at its longest, with one allowed IP.
const PEER_LEN: usize = 4 + 36 + 8 + 36 + 32 + 8 + 4 + ALLOWED_IP_LEN;
/// Every message has room for the device, or for a peer and one of its allowed IPs.
pub(super) const MIN_LEN: usize = HEADERS_LEN + 20 + 36 + 8 + 8 + 8 + 4 + PEER_LEN;

#[cfg(test)]
mod tests;
