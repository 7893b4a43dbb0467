//! A whole configuration as the change that leads to it: peers that stay keep their sessions, and those that files of their
//! own describe stay in any case.
//!
//! Source: wg(8), syncconf.

use std::collections::{HashMap, HashSet};

use rvpn_uapi::{DeviceStatus, PeerSet, SecretKey, Set};

/// Turns a change that replaces all peers into one that removes those that are not in it.
pub fn synchronize(set: &mut Set, status: &DeviceStatus) {
    if status.peers.is_empty() {
        return;
    }
    set.replace_peers = false;
    let present: HashMap<_, _> = status.peers.iter().map(|peer| (peer.public_key, peer)).collect();
    for peer in &mut set.peers {
        // What the file is silent about is none: it would stay if it were not said.
        if let Some(now) = present.get(&peer.public_key) {
            if now.name.is_some() {
                peer.name.get_or_insert(None);
            }
            if now.rate_up != 0 {
                peer.rate_up.get_or_insert(0);
            }
            if now.rate_down != 0 {
                peer.rate_down.get_or_insert(0);
            }
            if !now.endpoints.is_empty() {
                peer.endpoints.get_or_insert_default();
                peer.endpoint_order.get_or_insert_default();
            }
            if now.preshared_key.is_some() {
                peer.preshared_key.get_or_insert_with(|| SecretKey::new(&[0; 32]));
            }
            if now.persistent_keepalive != 0 {
                peer.persistent_keepalive.get_or_insert(0);
            }
        }
    }
    let kept: HashSet<_> = set.peers.iter().map(|peer| peer.public_key).collect();
    let gone = status.peers.iter().filter(|peer| !peer.is_from_file && !kept.contains(&peer.public_key));
    // Removals first: their allowed IPs are then free for the peers that follow.
    let removals = gone.map(|peer| PeerSet { remove: true, ..PeerSet::new(peer.public_key) });
    set.peers.splice(..0, removals.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use rvpn_uapi::{PeerName, PeerStatus, PublicKey};

    use super::*;

    fn file(keys: &[u8]) -> Set {
        let peers = keys.iter().map(|&key| PeerSet::new(PublicKey([key; 32]))).collect();
        Set { replace_peers: true, peers, ..Set::default() }
    }

    fn device(keys: &[u8]) -> DeviceStatus {
        let peers = keys.iter().map(|&key| PeerStatus::new(PublicKey([key; 32]))).collect();
        DeviceStatus { peers, ..DeviceStatus::default() }
    }

    #[test]
    fn peers_that_are_not_in_the_file_are_removed_first() {
        let mut set = file(&[2, 3]);
        synchronize(&mut set, &device(&[1, 2, 4]));
        let order: Vec<_> = set.peers.iter().map(|peer| (peer.public_key.0[0], peer.remove)).collect();
        assert_eq!(order, [(1, true), (4, true), (2, false), (3, false)]);
        assert!(!set.replace_peers);
    }

    #[test]
    fn peers_that_files_describe_stay() {
        let (mut set, mut status) = (file(&[2]), device(&[1, 2]));
        status.peers[0].is_from_file = true;
        synchronize(&mut set, &status);
        assert_eq!(set.peers, file(&[2]).peers);
    }

    #[test]
    fn a_device_without_peers_is_replaced() {
        let mut set = file(&[1]);
        synchronize(&mut set, &device(&[]));
        assert!(set.replace_peers);
    }

    #[test]
    fn what_the_file_is_silent_about_is_taken_away() {
        let (mut set, mut status) = (file(&[1, 2]), device(&[1, 2]));
        status.peers[0].preshared_key = Some(SecretKey::new(&[7; 32]));
        status.peers[0].persistent_keepalive = 25;
        (status.peers[0].rate_up, status.peers[0].rate_down) = (1, 2);
        status.peers[0].name = PeerName::new("alice");
        synchronize(&mut set, &status);
        assert!(set.peers[0].preshared_key.as_ref().is_some_and(SecretKey::is_zero));
        assert_eq!((set.peers[0].persistent_keepalive, &set.peers[0].name), (Some(0), &Some(None)));
        assert_eq!((set.peers[0].rate_up, set.peers[0].rate_down), (Some(0), Some(0)));
        assert_eq!(set.peers[1], file(&[2]).peers[0]);
    }
}
