//! The models: what may happen at once, and what must hold whichever comes first.
//!
//! Numbers in brackets are those of the protocol's invariants, as in `tests/simulation/watch.rs`.

use std::collections::BTreeSet;

use loom::sync::atomic::Ordering::SeqCst;

use crate::config;
use crate::platform::fake::Train;
use crate::world::{World, at_once};

/// A model and its name.
type Model = (&'static str, fn());

/// All of them.
pub(crate) const ALL: &[Model] = &[
    ("two_threads_that_send_never_share_a_counter", two_threads_that_send_never_share_a_counter),
    ("a_rekey_while_sending_loses_nothing", a_rekey_while_sending_loses_nothing),
    ("a_rekey_while_receiving_delivers_each_packet_once", a_rekey_while_receiving_delivers_each_packet_once),
    ("staged_packets_leave_once_or_not_at_all_when_keys_go", staged_packets_leave_once_or_not_at_all_when_keys_go),
    ("staged_packets_survive_a_new_private_key", staged_packets_survive_a_new_private_key),
    ("nothing_leaves_for_a_peer_that_was_removed", nothing_leaves_for_a_peer_that_was_removed),
    ("nothing_is_delivered_from_a_peer_that_was_removed", nothing_is_delivered_from_a_peer_that_was_removed),
    ("no_handshake_revives_a_peer_that_was_removed", no_handshake_revives_a_peer_that_was_removed),
    ("no_response_leaves_for_a_peer_that_was_removed", no_response_leaves_for_a_peer_that_was_removed),
    ("keys_that_are_erased_take_no_packet_with_them", keys_that_are_erased_take_no_packet_with_them),
];

/// [1] Packets from the TUN on one thread, a keepalive's flush by configuration on another.
fn two_threads_that_send_never_share_a_counter() {
    let world = World::established();
    let [node, other] = world.nodes.clone();
    let sender = node.clone();
    sender.inject(2);
    sender.inject(3);
    at_once(
        move || {
            sender.packets();
        },
        // From off to on asks for a keepalive at once.
        move || config::set_keepalive(&node.device, other.keys.public, 25),
    );
    counters_rise(&world.on_wire(), 3);
    world.settle();
    assert_eq!(world.nodes[1].received(), [2, 3]);
}

/// [1] [2] The response that makes a new key arrives while packets are being sent.
fn a_rekey_while_sending_loses_nothing() {
    let world = World::established();
    let [node, other] = world.nodes.clone();
    // A packet at 120 s makes the initiator start anew.
    world.pass(120);
    node.inject(2);
    node.packets();
    node.handshakes();
    world.carry();
    other.packets();
    other.handshakes();
    world.carry();
    // The packet way hands the response to the handshake thread.
    node.packets();

    let sender = node.clone();
    sender.inject(3);
    at_once(
        move || {
            sender.packets();
        },
        move || {
            node.handshakes();
        },
    );
    counters_rise(&world.on_wire(), 2);
    world.settle();
    assert_eq!(world.nodes[1].received(), [2, 3]);
    assert_eq!(world.nodes[0].device.objects().keypairs, 2, "previous and current");
}

/// [5] Data for the old key and the first data for the new one arrive while another initiation replaces `next`.
fn a_rekey_while_receiving_delivers_each_packet_once() {
    let world = World::established();
    let [other, node] = world.nodes.clone();
    world.pass(120);
    other.inject(2);
    other.packets();
    let data = world.take_wire();
    other.handshakes();
    let initiation = world.take_wire();

    let receiver = node.clone();
    initiation.iter().for_each(|train| world.internet.deliver(train));
    receiver.packets();
    // Twice: the replay window must know it whichever way it came.
    data.iter().chain(&data).for_each(|train| world.internet.deliver(train));
    at_once(
        move || {
            receiver.packets();
        },
        move || {
            node.handshakes();
        },
    );
    assert_eq!(world.nodes[1].received(), [2]);
    world.settle();
    world.nodes[1].inject(3);
    world.settle();
    assert_eq!((world.nodes[0].received(), world.nodes[1].received()), (vec![3], vec![]));
}

/// [9] The handshake completes and flushes what is staged while the interface goes down.
fn staged_packets_leave_once_or_not_at_all_when_keys_go() {
    let (world, node) = staged_with_response();
    let silent = world.silence(0);
    let downed = node.clone();
    at_once(
        move || {
            node.handshakes();
        },
        move || {
            config::down(&downed.device);
            silent.store(true, SeqCst);
        },
    );
    let left = world.nodes[0].device.objects();
    assert_eq!((left.keypairs, left.handshakes, left.staged), (0, 0, 0));
    let numbers = deliver_and_take(&world);
    assert!(numbers.is_empty() || numbers == [2, 3], "{numbers:?}");
}

/// The handshake completes and flushes what is staged while our identity changes, which ends sending with the new key.
fn staged_packets_survive_a_new_private_key() {
    let (world, node) = staged_with_response();
    let changed = node.clone();
    let private_key = Some(Some(config::Keys::of_node(7).private));
    at_once(
        move || {
            node.handshakes();
        },
        move || {
            let change = crate::dataplane::configure::Change { private_key, ..Default::default() };
            config::apply(&changed.device, change);
        },
    );
    let staged = world.nodes[0].device.objects().staged;
    let numbers = deliver_and_take(&world);
    assert!(staged == 2 && numbers.is_empty() || staged == 0 && numbers == [2, 3], "{staged} staged, {numbers:?}");
}

/// [9] Packets from the TUN while the peer is removed.
fn nothing_leaves_for_a_peer_that_was_removed() {
    let world = World::established();
    let [node, _] = world.nodes.clone();
    let silent = world.silence(0);
    let sender = node.clone();
    sender.inject(2);
    at_once(
        move || {
            sender.packets();
        },
        move || {
            config::remove_peers(&node.device);
            silent.store(true, SeqCst);
        },
    );
    nothing_is_left(&world);
}

/// [9] Packets from the network while the peer is removed.
fn nothing_is_delivered_from_a_peer_that_was_removed() {
    let world = World::established();
    let [other, node] = world.nodes.clone();
    other.inject(2);
    other.packets();
    world.carry();
    let silent = world.silence(1);
    let receiver = node.clone();
    at_once(
        move || {
            receiver.packets();
        },
        move || {
            config::remove_peers(&node.device);
            silent.store(true, SeqCst);
        },
    );
    assert_eq!(world.nodes[1].device.objects().keypairs, 0);
}

/// [7] [9] A handshake step while the peer is removed: neither session nor index remains.
fn no_handshake_revives_a_peer_that_was_removed() {
    let (world, node) = staged_with_response();
    let silent = world.silence(0);
    let removed = node.clone();
    at_once(
        move || {
            node.handshakes();
        },
        move || {
            config::remove_peers(&removed.device);
            silent.store(true, SeqCst);
        },
    );
    nothing_is_left(&world);
}

/// [9] An initiation is being answered while its sender is removed.
fn no_response_leaves_for_a_peer_that_was_removed() {
    let world = World::new();
    let [node, other] = world.nodes.clone();
    other.inject(2);
    other.packets();
    other.handshakes();
    world.carry();
    node.packets();
    let silent = world.silence(0);
    let removed = node.clone();
    at_once(
        move || {
            node.handshakes();
        },
        move || {
            config::remove_peers(&removed.device);
            silent.store(true, SeqCst);
        },
    );
    nothing_is_left(&world);
}

/// The deadline thread erases keys that are 540 s old while the packet thread finds that it cannot send with them.
fn keys_that_are_erased_take_no_packet_with_them() {
    let world = World::established();
    // The keepalive that answers the first packet; from then on both are silent.
    world.pass(10);
    world.settle();
    world.pass(530);
    let [node, _] = world.nodes.clone();
    let sender = node.clone();
    sender.inject(2);
    at_once(
        move || {
            sender.packets();
        },
        move || node.deadlines(),
    );
    assert_eq!(world.nodes[0].device.objects().staged, 1);
    world.settle();
    assert_eq!(world.nodes[1].received(), [2]);
}

/// Node 0 has staged packets 2 and 3, and the response that makes a key for them waits for its handshake thread.
fn staged_with_response() -> (World, std::sync::Arc<crate::world::Node>) {
    let world = World::new();
    let [node, other] = world.nodes.clone();
    node.inject(2);
    node.inject(3);
    node.packets();
    node.handshakes();
    world.carry();
    other.packets();
    other.handshakes();
    world.carry();
    node.packets();
    assert_eq!(node.device.objects().staged, 2);
    (world, node)
}

/// Node 0 holds nothing of a peer.
fn nothing_is_left(world: &World) {
    let left = world.nodes[0].device.objects();
    assert_eq!((left.peers, left.keypairs, left.handshakes, left.staged), (0, 0, 0, 0), "{left}");
}

/// Has node 1 take what is on the wire; returns the packets among it.
fn deliver_and_take(world: &World) -> Vec<u64> {
    world.carry();
    world.nodes[1].packets();
    world.nodes[1].received()
}

/// [1] No pair of key and counter is on the wire twice, and each key's counters rise. Expects `count` data messages.
fn counters_rise(trains: &[Train], count: usize) {
    let mut seen = BTreeSet::new();
    let mut found = 0;
    for message in trains.iter().flat_map(Train::payloads).filter(|message| message[0] == 4) {
        let receiver = u32::from_le_bytes(message[4..8].try_into().expect("4 bytes"));
        let counter = u64::from_le_bytes(message[8..16].try_into().expect("8 bytes"));
        assert!(seen.range((receiver, counter)..=(receiver, u64::MAX)).next().is_none(), "[1] {receiver:x} {counter}");
        seen.insert((receiver, counter));
        found += 1;
    }
    assert_eq!(found, count, "data messages");
}
