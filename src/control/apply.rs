//! From the values of the configuration protocol to those of the tunnel, and back.
//!
//! The crate `rvpn-uapi` knows no tunnel and the data plane knows no configuration protocol, so each value is turned
//! here. Not here: rules. Whether a change is possible is for the data plane to say.

use std::io;
use std::time::Duration;

use rvpn_uapi::{AllowedIpChange, DeviceStatus, Errno, PeerSet, PeerStatus, Set};

use crate::dataplane::configure::{self, ApplyError, Change, DeviceSnapshot, PeerChange, PeerSnapshot};
use crate::proto::allowedips::Prefix;
use crate::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::proto::time::WallTime;

/// Takes a request.
pub fn change(set: &Set) -> Change {
    Change {
        private_key: set.private_key.as_ref().map(private_key),
        listen_port: set.listen_port,
        mark: set.fwmark,
        replace_peers: set.replace_peers,
        peers: set.peers.iter().map(peer_change).collect(),
    }
}

fn peer_change(peer: &PeerSet) -> PeerChange {
    PeerChange {
        public_key: public_key(peer.public_key),
        remove: peer.remove,
        update_only: peer.update_only,
        preshared_key: peer.preshared_key.as_ref().map(preshared_key),
        endpoint: peer.endpoint,
        persistent_keepalive: peer.persistent_keepalive,
        replace_allowed_ips: peer.replace_allowed_ips,
        allowed_ips: peer.allowed_ips.iter().map(allowed_ip_change).collect(),
    }
}

fn allowed_ip_change(change: &AllowedIpChange) -> configure::AllowedIpChange {
    match change {
        AllowedIpChange::Add(network) => configure::AllowedIpChange::Add(prefix(network)),
        AllowedIpChange::Remove(network) => configure::AllowedIpChange::Remove(prefix(network)),
    }
}

/// Gives the state of a device.
pub fn status(snapshot: DeviceSnapshot) -> DeviceStatus {
    DeviceStatus {
        private_key: snapshot.private_key.as_ref().map(private_key_text),
        listen_port: snapshot.listen_port,
        fwmark: snapshot.mark,
        peers: snapshot.peers.iter().map(peer_status).collect(),
    }
}

fn peer_status(peer: &PeerSnapshot) -> PeerStatus {
    PeerStatus {
        preshared_key: Some(preshared_key_text(&peer.status.preshared_key)),
        endpoint: peer.status.endpoint.map(|endpoint| endpoint.remote),
        last_handshake: last_handshake(peer.status.last_handshake),
        tx_bytes: peer.status.tx_bytes,
        rx_bytes: peer.status.rx_bytes,
        persistent_keepalive: peer.status.persistent_keepalive,
        allowed_ips: peer.allowed_ips.iter().map(prefix_text).collect(),
        ..PeerStatus::new(public_key_text(peer.public_key))
    }
}

/// Gives the number that stands for an error.
pub fn errno(error: &ApplyError) -> Errno {
    match error {
        ApplyError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Errno::ADDRESS_IN_USE,
        ApplyError::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Errno::ACCESS,
        ApplyError::Mark { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Errno::NOT_PERMITTED,
        ApplyError::TooManyPeers => Errno::NO_MEMORY,
        _ => Errno::IO,
    }
}

/// Takes the name of a peer.
const fn public_key(key: rvpn_uapi::PublicKey) -> PublicKey {
    PublicKey(key.0)
}

/// Names a peer.
const fn public_key_text(key: PublicKey) -> rvpn_uapi::PublicKey {
    rvpn_uapi::PublicKey(key.0)
}

/// Takes an identity; all zero is none.
fn private_key(key: &rvpn_uapi::SecretKey) -> Option<PrivateKey> {
    PrivateKey::new(*key.as_bytes())
}

/// Gives an identity.
fn private_key_text(key: &PrivateKey) -> rvpn_uapi::SecretKey {
    rvpn_uapi::SecretKey::new(key.as_bytes())
}

/// Takes a preshared key; all zero is none in both worlds.
fn preshared_key(key: &rvpn_uapi::SecretKey) -> PresharedKey {
    PresharedKey::new(*key.as_bytes())
}

/// Gives a preshared key.
fn preshared_key_text(key: &PresharedKey) -> rvpn_uapi::SecretKey {
    rvpn_uapi::SecretKey::new(key.as_bytes())
}

/// Takes an allowed IP. Both types mask and bound the prefix length, so nothing is lost.
fn prefix(network: &rvpn_uapi::AllowedIp) -> Prefix {
    Prefix::new(network.address(), network.prefix_len()).expect("a network's prefix length is within its family's")
}

/// Gives an allowed IP.
fn prefix_text(prefix: &Prefix) -> rvpn_uapi::AllowedIp {
    rvpn_uapi::AllowedIp::new(prefix.address(), prefix.len()).expect("a prefix's length is within its family's")
}

/// Gives the time of a handshake since the epoch; `None` is never.
fn last_handshake(time: Option<WallTime>) -> Option<Duration> {
    time.map(|time| Duration::from_secs(time.secs).saturating_add(Duration::from_nanos(time.nanos.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_identity() {
        assert!(private_key(&rvpn_uapi::SecretKey::new(&[0; 32])).is_none());
    }

    #[test]
    fn an_identity_is_given_as_it_is_used() {
        let key = private_key(&rvpn_uapi::SecretKey::new(&[0xff; 32])).expect("not zero");
        let text = private_key_text(&key);
        assert_eq!((text.as_bytes()[0], text.as_bytes()[31]), (0xf8, 0x7f), "clamped");
    }

    #[test]
    fn a_handshake_time_keeps_its_nanoseconds() {
        let time = WallTime { secs: 1_700_000_000, nanos: 7 };
        assert_eq!(last_handshake(Some(time)), Some(Duration::new(1_700_000_000, 7)));
        assert_eq!(last_handshake(None), None);
    }
}
