//! From the values of the configuration protocol to those of the tunnel, and back.
//!
//! The crate `rvpn-uapi` knows no tunnel and the data plane knows no configuration protocol, so each value is turned
//! here. Not here: rules. Whether a change is possible is for the data plane to say.

use std::io;
use std::time::Duration;

use rvpn_uapi::{
    Aead, AllowedIpChange, DeviceStatus, EndpointOrder, Errno, Offload, Offloads, PeerName, PeerSet, PeerStatus, Set,
};

use crate::dataplane::candidates::Candidate;
use crate::dataplane::configure::{self, ApplyError, Change, DeviceSnapshot, PeerChange, PeerSnapshot};
use crate::dataplane::gro::Classes;
use crate::dataplane::offload::OffloadsInUse;
use crate::proto::allowedips::Prefix;
use crate::proto::candidates::Order;
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
        is_from_file: false,
        remove: peer.remove,
        update_only: peer.update_only,
        name: peer.name.as_ref().map(|name| name.as_ref().map(Into::into)),
        rate_up: peer.rate_up,
        rate_down: peer.rate_down,
        preshared_key: peer.preshared_key.as_ref().map(preshared_key),
        endpoint: peer.endpoint,
        candidates: peer.endpoints.as_ref().map(|list| list.iter().map(candidate).collect()),
        order: peer.endpoint_order.map(order),
        persistent_keepalive: peer.persistent_keepalive,
        replace_allowed_ips: peer.replace_allowed_ips,
        allowed_ips: peer.allowed_ips.iter().map(allowed_ip_change).collect(),
    }
}

fn candidate(candidate: &rvpn_uapi::Candidate) -> Candidate {
    match candidate {
        rvpn_uapi::Candidate::Address(address) => Candidate::Address(*address),
        rvpn_uapi::Candidate::Name { host, port } => Candidate::Name { host: host.as_str().into(), port: *port },
    }
}

fn candidate_text(candidate: &Candidate) -> rvpn_uapi::Candidate {
    match candidate {
        Candidate::Address(address) => rvpn_uapi::Candidate::Address(*address),
        Candidate::Name { host, port } => rvpn_uapi::Candidate::Name { host: (**host).to_owned(), port: *port },
    }
}

const fn order(order: EndpointOrder) -> Order {
    match order {
        EndpointOrder::Fastest => Order::Fastest,
        EndpointOrder::Strict => Order::Strict,
    }
}

const fn order_text(order: Order) -> EndpointOrder {
    match order {
        Order::Fastest => EndpointOrder::Fastest,
        Order::Strict => EndpointOrder::Strict,
    }
}

fn allowed_ip_change(change: &AllowedIpChange) -> configure::AllowedIpChange {
    match change {
        AllowedIpChange::Add(network) => configure::AllowedIpChange::Add(prefix(network)),
        AllowedIpChange::Remove(network) => configure::AllowedIpChange::Remove(prefix(network)),
    }
}

/// Gives the state of a device whose packets are encrypted by `aead`.
pub fn status(snapshot: DeviceSnapshot, aead: Aead) -> DeviceStatus {
    DeviceStatus {
        private_key: snapshot.private_key.as_ref().map(private_key_text),
        listen_port: snapshot.listen_port,
        fwmark: snapshot.mark,
        aead: Some(aead),
        offloads: snapshot.offloads.map(offloads),
        peers: snapshot.peers.iter().map(peer_status).collect(),
    }
}

/// Names the offloads in use.
pub fn offloads(in_use: OffloadsInUse) -> Offloads {
    let OffloadsInUse { classes: Classes { tcp4, tcp6, udp4, udp6 }, sends_trains, receives_trains } = in_use;
    let all = [
        (tcp4, Offload::TunTcp4),
        (tcp6, Offload::TunTcp6),
        (udp4, Offload::TunUdp4),
        (udp6, Offload::TunUdp6),
        (sends_trains, Offload::UdpSend),
        (receives_trains, Offload::UdpReceive),
    ];
    all.into_iter().filter_map(|(is_in_use, offload)| is_in_use.then_some(offload)).collect()
}

fn peer_status(peer: &PeerSnapshot) -> PeerStatus {
    PeerStatus {
        name: peer.name.as_deref().and_then(PeerName::new),
        is_from_file: peer.is_from_file,
        rate_up: peer.rate_up,
        rate_down: peer.rate_down,
        preshared_key: Some(preshared_key_text(&peer.status.preshared_key)),
        endpoint: peer.status.endpoint.map(|endpoint| endpoint.remote),
        endpoints: peer.candidates.iter().flat_map(|list| list.iter()).map(candidate_text).collect(),
        endpoint_order: order_text(peer.status.order),
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

/// Takes the key that names a peer.
pub const fn public_key(key: rvpn_uapi::PublicKey) -> PublicKey {
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
    fn each_offload_is_told_by_its_own_word() {
        let none = OffloadsInUse {
            classes: Classes { tcp4: false, tcp6: false, udp4: false, udp6: false },
            sends_trains: false,
            receives_trains: false,
        };
        let with = |set: fn(&mut OffloadsInUse)| {
            let mut in_use = none;
            set(&mut in_use);
            offloads(in_use).to_string()
        };
        assert_eq!(with(|_| {}), "none");
        assert_eq!(with(|in_use| in_use.classes.tcp4 = true), "tun-tcp4");
        assert_eq!(with(|in_use| in_use.classes.tcp6 = true), "tun-tcp6");
        assert_eq!(with(|in_use| in_use.classes.udp4 = true), "tun-udp4");
        assert_eq!(with(|in_use| in_use.classes.udp6 = true), "tun-udp6");
        assert_eq!(with(|in_use| in_use.sends_trains = true), "udp-send");
        assert_eq!(with(|in_use| in_use.receives_trains = true), "udp-receive");
    }

    #[test]
    fn a_handshake_time_keeps_its_nanoseconds() {
        let time = WallTime { secs: 1_700_000_000, nanos: 7 };
        assert_eq!(last_handshake(Some(time)), Some(Duration::new(1_700_000_000, 7)));
        assert_eq!(last_handshake(None), None);
    }
}
