//! Configuration as tests need it: keys from small numbers, one peer, plain words.

use std::net::{IpAddr, SocketAddr};

use rvpn::dataplane::configure::{AllowedIpChange, Change, PeerChange};
use rvpn::dataplane::device::Device;
use rvpn::proto::allowedips::Prefix;
use rvpn::proto::handshake::Identity;
use rvpn::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use rvpn::proto::peer::PeerStatus;

/// A key pair.
pub(crate) struct Keys {
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
}

impl Keys {
    /// The key pair number `n`.
    pub(crate) fn of_node(n: u8) -> Self {
        let private = PrivateKey::new([0x40 + n; 32]).expect("a key that is not zero");
        let public = *Identity::new(private.clone()).public_key();
        Self { private, public }
    }
}

/// Sets private key and port.
pub(crate) fn set_up(device: &Device, keys: &Keys, port: u16) {
    let private_key = Some(Some(keys.private.clone()));
    apply(device, Change { private_key, listen_port: Some(port), ..Change::default() });
}

/// Adds a peer, or gives what is said to one that is there.
pub(crate) fn add_peer(device: &Device, peer: PublicKey, endpoint: Option<SocketAddr>, allowed_ips: &[IpAddr]) {
    let allowed_ips = allowed_ips.iter().map(|address| AllowedIpChange::Add(host_prefix(*address))).collect();
    apply_peer(device, PeerChange { endpoint, allowed_ips, ..PeerChange::new(peer) });
}

/// Replaces a peer's allowed IPs and keepalive interval with the ones it has.
pub(crate) fn replace_same(device: &Device, peer: PublicKey, allowed_ips: &[IpAddr]) {
    let allowed_ips = allowed_ips.iter().map(|address| AllowedIpChange::Add(host_prefix(*address))).collect();
    let persistent_keepalive = Some(0);
    let replace_allowed_ips = true;
    apply_peer(device, PeerChange { replace_allowed_ips, persistent_keepalive, allowed_ips, ..PeerChange::new(peer) });
}

/// Takes all allowed IPs from a peer.
pub(crate) fn remove_allowed_ips(device: &Device, peer: PublicKey) {
    apply_peer(device, PeerChange { replace_allowed_ips: true, ..PeerChange::new(peer) });
}

/// Sets the persistent keepalive interval; 0 is off.
pub(crate) fn set_keepalive(device: &Device, peer: PublicKey, secs: u16) {
    apply_peer(device, PeerChange { persistent_keepalive: Some(secs), ..PeerChange::new(peer) });
}

/// Sets the preshared key of a peer.
pub(crate) fn set_preshared_key(device: &Device, peer: PublicKey, key: [u8; 32]) {
    apply_peer(device, PeerChange { preshared_key: Some(PresharedKey::new(key)), ..PeerChange::new(peer) });
}

/// Removes all peers.
pub(crate) fn remove_peers(device: &Device) {
    apply(device, Change { replace_peers: true, ..Change::default() });
}

/// Brings the interface up.
pub(crate) fn up(device: &Device) {
    device.up().expect("the port is free");
}

/// Brings the interface down.
pub(crate) fn down(device: &Device) {
    device.down();
}

/// What the device shows of its peer number `n`.
pub(crate) fn peer_status(device: &Device, n: usize) -> PeerStatus {
    device.snapshot().peers[n].status.clone()
}

/// Where the device sends datagrams of its peer number `n`.
pub(crate) fn endpoint(device: &Device, n: usize) -> Option<SocketAddr> {
    peer_status(device, n).endpoint.map(|endpoint| endpoint.remote)
}

pub(crate) fn apply(device: &Device, change: Change) {
    device.apply(change).expect("the change is valid");
}

pub(crate) fn apply_peer(device: &Device, peer: PeerChange) {
    apply(device, Change { peers: vec![peer], ..Change::default() });
}

/// The prefix of one address.
pub(crate) fn host_prefix(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }).expect("a length within the family's")
}
