//! Messages as another crate reads them, cut at every place there is.

use netlink_packet_wireguard::{WireguardAttribute, WireguardMessage, WireguardPeerAttribute};
use rvpn_uapi::{DeviceStatus, PublicKey, SecretKey};

use super::*;
use crate::control::client::kernel::tests::{apply_to, big_set, decode};

/// The messages of a change, none longer than `max_len`.
fn messages(set: &Set, max_len: usize) -> Vec<WireguardMessage> {
    let mut requests = Requests::new("wg0", set, max_len);
    let mut messages = Vec::new();
    while let Some(message) = requests.next() {
        assert!(message.len() <= max_len, "{} of {max_len}", message.len());
        messages.push(decode(message));
    }
    messages
}

/// What becomes of `device` by a change in messages of at most `max_len` bytes.
fn changed(mut device: DeviceStatus, set: &Set, max_len: usize) -> DeviceStatus {
    messages(set, max_len).into_iter().for_each(|message| apply_to(&mut device, message));
    device
}

#[test]
fn a_change_in_pieces_is_the_whole_wherever_it_is_cut() {
    let set = big_set(6, 9);
    let whole = changed(DeviceStatus::default(), &set, 64 * 1024);
    assert_eq!(messages(&set, 64 * 1024).len(), 1);
    let mut counts = Vec::new();
    for max_len in MIN_LEN..3_500 {
        assert_eq!(changed(DeviceStatus::default(), &set, max_len), whole, "{max_len}");
        counts.push(messages(&set, max_len).len());
    }
    assert!(counts[0] > 10 && counts.last() == Some(&1), "{counts:?}");
}

#[test]
fn what_is_not_asked_for_is_not_said() {
    let [message] = &messages(&Set::default(), MIN_LEN)[..] else { panic!("one message") };
    assert_eq!(message.attributes, [WireguardAttribute::IfName("wg0".to_owned())]);
    let set = Set { peers: vec![PeerSet::new(PublicKey([3; 32]))], ..Set::default() };
    let [message] = &messages(&set, MIN_LEN)[..] else { panic!("one message") };
    let [_, WireguardAttribute::Peers(peers)] = &message.attributes[..] else { panic!("name and peers") };
    assert_eq!(peers[0].0, [WireguardPeerAttribute::PublicKey([3; 32])]);
}

#[test]
fn zero_takes_away_and_a_removal_removes() {
    let device = changed(DeviceStatus::default(), &big_set(3, 2), 64 * 1024);
    let zero = || Some(SecretKey::new(&[0; 32]));
    let mut set = Set { private_key: zero(), listen_port: Some(0), fwmark: Some(0), ..Set::default() };
    set.peers = vec![
        PeerSet { remove: true, ..PeerSet::new(PublicKey([1; 32])) },
        PeerSet { preshared_key: zero(), persistent_keepalive: Some(0), ..PeerSet::new(PublicKey([3; 32])) },
    ];
    let after = changed(device, &set, MIN_LEN);
    assert_eq!((after.private_key, after.listen_port, after.fwmark), (None, 0, 0));
    assert_eq!(after.peers.iter().map(|peer| peer.public_key.0[0]).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((&after.peers[1].preshared_key, after.peers[1].allowed_ips.len()), (&None, 2));
}

#[test]
fn a_peer_that_is_only_updated_is_not_made_by_its_continuation() {
    let mut set = big_set(1, 50);
    set.peers[0].update_only = true;
    assert!(messages(&set, MIN_LEN).len() > 10);
    assert!(changed(DeviceStatus::default(), &set, MIN_LEN).peers.is_empty());
}

#[test]
fn networks_are_added_and_removed_in_order() {
    let mut set = big_set(1, 4);
    let [first, second] = [0, 1].map(|n| set.peers[0].allowed_ips[n]);
    let (AllowedIpChange::Add(first) | AllowedIpChange::Remove(first)) = first;
    let (AllowedIpChange::Add(second) | AllowedIpChange::Remove(second)) = second;
    set.peers[0].allowed_ips.push(AllowedIpChange::Remove(first));
    set.peers[0].allowed_ips.push(AllowedIpChange::Remove(second));
    set.peers[0].allowed_ips.push(AllowedIpChange::Add(second));
    for max_len in [MIN_LEN, 64 * 1024] {
        let left = changed(DeviceStatus::default(), &set, max_len).peers.remove(0).allowed_ips;
        assert_eq!(
            left.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.1.2.0/24", "fd01::3/128", "fd01::1/128"]
        );
    }
}

#[test]
fn the_longest_name_fits() {
    let set = Set::default();
    let mut requests = Requests::new("fifteen-letters", &set, MIN_LEN);
    let message = decode(requests.next().expect("a message"));
    assert_eq!(message.attributes, [WireguardAttribute::IfName("fifteen-letters".to_owned())]);
}
