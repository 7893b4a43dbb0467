//! The state of a device as `get` reports it, and its text.
//!
//! Not here: taking the state from a device. It is taken whole, then written in pieces with nothing locked.

use std::net::SocketAddr;
use std::time::Duration;

use crate::allowed_ip::AllowedIp;
use crate::candidate::{Candidate, EndpointOrder};
use crate::error::Key;
use crate::key::{PublicKey, SecretKey};
use crate::means::{Aead, Offloads};
use crate::name::PeerName;
use crate::request::{Operation, write_endpoint, write_errno, write_line, write_public_key, write_secret};

/// A device at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The private key, clamped; `None` if the device has no identity.
    pub private_key: Option<SecretKey>,
    /// The UDP port; 0 if there is none yet.
    pub listen_port: u16,
    /// The firewall mark; 0 is none.
    pub fwmark: u32,
    /// What encrypts packets; `None` if the server is not rvpn.
    pub aead: Option<Aead>,
    /// The offloads in use; `None` if the server is not rvpn, or its interface is down.
    pub offloads: Option<Offloads>,
    /// The peers, in the order in which they were added.
    pub peers: Vec<PeerStatus>,
}

/// A peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which peer.
    pub public_key: PublicKey,
    /// What people call it; `None` if it has no name, or if the server is not rvpn.
    pub name: Option<PeerName>,
    /// Whether a file of its own describes it, so that only that file takes it away; `false` if the server is not rvpn.
    pub is_from_file: bool,
    /// The limit on what it may send, in bits a second; 0 is none.
    pub rate_up: u64,
    /// The limit on what it may be sent, in bits a second; 0 is none.
    pub rate_down: u64,
    /// The preshared key; `None` or zero if there is none.
    pub preshared_key: Option<SecretKey>,
    /// Where datagrams go; `None` if not known.
    pub endpoint: Option<SocketAddr>,
    /// Where else it may be, as the operator said.
    pub endpoints: Vec<Candidate>,
    /// Which of these is preferred.
    pub endpoint_order: EndpointOrder,
    /// When the last handshake completed, since the epoch; `None` if never.
    pub last_handshake: Option<Duration>,
    /// Bytes sent, as UDP payload.
    pub tx_bytes: u64,
    /// Bytes received, as UDP payload.
    pub rx_bytes: u64,
    /// The interval of persistent keepalives, in seconds; 0 is off.
    pub persistent_keepalive: u16,
    /// The networks routed to the peer.
    pub allowed_ips: Vec<AllowedIp>,
}

impl PeerStatus {
    /// Makes a peer of which nothing is known.
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            name: None,
            is_from_file: false,
            rate_up: 0,
            rate_down: 0,
            preshared_key: None,
            endpoint: None,
            endpoints: Vec::new(),
            endpoint_order: EndpointOrder::Fastest,
            last_handshake: None,
            tx_bytes: 0,
            rx_bytes: 0,
            persistent_keepalive: 0,
            allowed_ips: Vec::new(),
        }
    }
}

/// Writes the answer to `get` in pieces, so that a device with many peers needs no second copy as text.
pub struct StatusWriter<'a> {
    device: &'a DeviceStatus,
    next: Item,
}

/// What is written next.
#[derive(Clone, Copy)]
enum Item {
    Device,
    Peer(usize),
    /// What only rvpn says of a peer.
    Extras(usize),
    Candidate(usize, usize),
    AllowedIp(usize, usize),
    End,
    Nothing,
}

impl<'a> StatusWriter<'a> {
    /// Begins the answer.
    pub const fn new(device: &'a DeviceStatus) -> Self {
        Self { device, next: Item::Device }
    }

    /// Appends as much of the answer as fits the capacity of `out`, at least one line; `false` if nothing is left.
    ///
    /// `out` is not grown if it has room for 512 bytes, so no copy of a key stays behind; the caller wipes it.
    pub fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        if matches!(self.next, Item::Nothing) {
            return false;
        }
        out.reserve(MAX_ITEM_LEN);
        while out.capacity() - out.len() >= MAX_ITEM_LEN && !matches!(self.next, Item::Nothing) {
            self.next = self.write(self.next, out);
        }
        true
    }

    /// Writes `item`, at most [`MAX_ITEM_LEN`] bytes, and returns what follows it.
    fn write(&self, item: Item, out: &mut Vec<u8>) -> Item {
        match item {
            Item::Device => {
                write_device(self.device, out);
                Item::Peer(0)
            }
            Item::Peer(index) => {
                let Some(peer) = self.device.peers.get(index) else { return Item::End };
                write_peer(peer, out);
                Item::Extras(index)
            }
            Item::Extras(index) => {
                write_extras(&self.device.peers[index], out);
                Item::Candidate(index, 0)
            }
            Item::Candidate(index, position) => {
                let Some(candidate) = self.device.peers[index].endpoints.get(position) else {
                    return Item::AllowedIp(index, 0);
                };
                write_line(out, Key::RvpnEndpoints, candidate);
                Item::Candidate(index, position + 1)
            }
            Item::AllowedIp(index, position) => {
                let Some(network) = self.device.peers[index].allowed_ips.get(position) else {
                    return Item::Peer(index + 1);
                };
                write_line(out, Key::AllowedIp, network);
                Item::AllowedIp(index, position + 1)
            }
            Item::End => {
                write_errno(out, Operation::Get, None);
                Item::Nothing
            }
            Item::Nothing => Item::Nothing,
        }
    }
}

/// Over the longest item, a peer without its networks: 419 bytes with every number at its longest.
const MAX_ITEM_LEN: usize = 512;

/// Unset values are left out: `wg` takes a key or a port of zero for one that is set.
fn write_device(device: &DeviceStatus, out: &mut Vec<u8>) {
    if let Some(key) = &device.private_key {
        write_secret(out, Key::PrivateKey, key);
    }
    if device.listen_port != 0 {
        write_line(out, Key::ListenPort, device.listen_port);
    }
    if device.fwmark != 0 {
        write_line(out, Key::Fwmark, device.fwmark);
    }
    if let Some(aead) = device.aead {
        write_line(out, Key::RvpnAead, aead);
    }
    if let Some(offloads) = device.offloads {
        write_line(out, Key::RvpnOffload, offloads);
    }
}

fn write_peer(peer: &PeerStatus, out: &mut Vec<u8>) {
    write_public_key(out, &peer.public_key);
    match &peer.preshared_key {
        Some(key) => write_secret(out, Key::PresharedKey, key),
        None => write_line(out, Key::PresharedKey, format_args!("{:064}", 0)),
    }
    write_line(out, Key::ProtocolVersion, 1);
    if let Some(endpoint) = peer.endpoint {
        write_endpoint(out, endpoint);
    }
    let handshake = peer.last_handshake.unwrap_or_default();
    write_line(out, Key::LastHandshakeSeconds, handshake.as_secs());
    write_line(out, Key::LastHandshakeNanoseconds, handshake.subsec_nanos());
    write_line(out, Key::TxBytes, peer.tx_bytes);
    write_line(out, Key::RxBytes, peer.rx_bytes);
    write_line(out, Key::PersistentKeepalive, peer.persistent_keepalive);
}

fn write_extras(peer: &PeerStatus, out: &mut Vec<u8>) {
    if let Some(name) = &peer.name {
        write_line(out, Key::RvpnName, name);
    }
    if peer.is_from_file {
        write_line(out, Key::RvpnFile, true);
    }
    for (key, rate) in [(Key::RvpnRateUp, peer.rate_up), (Key::RvpnRateDown, peer.rate_down)] {
        if rate != 0 {
            write_line(out, key, rate);
        }
    }
    // Also of a peer that has no list: it may get one later.
    if peer.endpoint_order != EndpointOrder::default() {
        write_line(out, Key::RvpnEndpointOrder, peer.endpoint_order);
    }
}

#[cfg(test)]
mod tests;
