//! What subscribers are told, and that nobody waits for one who does not listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rvpn::dataplane::configure::Change;
use rvpn::dataplane::events::{EventKind, PeerLabel, Subscription, Taken};
use rvpn::platform::fake::PATIENCE;
use rvpn::proto::keys::PublicKey;

use crate::config::{self, Keys};
use crate::world::{Log, World};

/// Subscribes to node `n`; the log has an entry for each time that the subscriber was woken.
fn subscribe(world: &World, n: usize) -> (Subscription, Arc<Log<()>>) {
    let woken = Arc::new(Log::new());
    let log = Arc::clone(&woken);
    (world.nodes[n].device.events().subscribe(move || log.push(())), woken)
}

fn unnamed(public_key: PublicKey) -> PeerLabel {
    PeerLabel { public_key, name: None }
}

fn kinds(taken: &Taken) -> Vec<EventKind> {
    taken.events.iter().map(|event| event.kind.clone()).collect()
}

#[test]
fn both_ends_of_a_first_handshake_are_told_once() {
    let world = World::new(1);
    let subscriptions = [0, 1].map(|n| subscribe(&world, n));
    world.shake();
    for (n, (subscription, woken)) in subscriptions.iter().enumerate() {
        drop(woken.wait("a wake-up", |wakes| !wakes.is_empty()));
        let other = &world.nodes[1 - n];
        let taken = subscription.take();
        assert_eq!(kinds(&taken), [EventKind::Connected { endpoint: other.outer }]);
        assert_eq!(taken.events[0].peer, Some(unnamed(other.keys.public)));
        assert_eq!(subscription.take(), Taken::default());
    }
}

#[test]
fn a_peer_that_is_not_heard_for_180_s_falls_silent_without_traffic() {
    let world = World::new(1);
    world.shake();
    let (subscription, woken) = subscribe(&world, 0);
    // Ten seconds, for the passive keepalive that answers what was received.
    world.clock.advance(Duration::from_secs(10));
    world.hold();
    world.clock.advance(Duration::from_secs(400));
    drop(woken.wait("silence", |wakes| !wakes.is_empty()));
    assert_eq!(kinds(&subscription.take()), [EventKind::Silent { endpoint: Some(world.nodes[1].outer) }]);
}

#[test]
fn changes_of_peers_are_told_in_order_and_a_stolen_prefix_with_both_peers() {
    let world = World::new(1);
    let (subscription, _) = subscribe(&world, 0);
    let (device, first, second) = (&world.nodes[0].device, world.nodes[1].keys.public, Keys::of_node(7).public);
    let stolen = world.nodes[0].inner[0];
    config::add_peer(device, first, None, &[stolen]);
    config::add_peer(device, second, None, &[stolen]);
    config::add_peer(device, second, None, &[stolen]);
    config::remove_peers(device);
    let told: Vec<_> =
        subscription.take().events.iter().map(|event| (event.peer.clone(), event.kind.clone())).collect();
    let by_second = EventKind::AllowedIpStolen { prefix: config::host_prefix(stolen), by: unnamed(second) };
    let expected = [
        (second, EventKind::PeerAdded),
        (first, by_second),
        (first, EventKind::PeerRemoved),
        (second, EventKind::PeerRemoved),
    ];
    assert_eq!(told, expected.map(|(peer, kind)| (Some(unnamed(peer)), kind)));
}

#[test]
fn a_private_key_that_is_taken_away_and_a_port_that_moves_are_told_of_the_interface() {
    let world = World::new(1);
    let (subscription, _) = subscribe(&world, 0);
    let device = &world.nodes[0].device;
    let from = world.nodes[0].outer.port();
    config::apply(device, Change { listen_port: Some(from), ..Change::default() });
    config::apply(device, Change { private_key: Some(None), listen_port: Some(4500), ..Change::default() });
    let taken = subscription.take();
    assert_eq!(kinds(&taken), [EventKind::ListenPortChanged { from, to: 4500 }, EventKind::PrivateKeyRemoved]);
    assert!(taken.events.iter().all(|event| event.peer.is_none()));
}

#[test]
fn who_does_not_listen_loses_the_oldest_and_is_told_how_many() {
    let world = World::new(1);
    let (subscription, _) = subscribe(&world, 0);
    let key = |n: usize| PublicKey(std::array::from_fn(|byte| (n >> (8 * byte).min(60)) as u8));
    for n in 0..5000 {
        config::add_peer(&world.nodes[0].device, key(n), None, &[]);
    }
    let taken = subscription.take();
    assert_eq!((taken.missed, taken.events.len()), (904, 4096));
    assert_eq!(taken.events[0].peer, Some(unnamed(key(904))));
    assert_eq!(subscription.take(), Taken::default());
}

#[test]
fn a_subscription_that_was_dropped_is_no_longer_woken() {
    let world = World::new(1);
    let wakes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&wakes);
    let subscription = world.nodes[0].device.events().subscribe(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    config::add_peer(&world.nodes[0].device, Keys::of_node(7).public, None, &[]);
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    drop(subscription);
    config::remove_peers(&world.nodes[0].device);
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&wakes), 1, "nothing of it is left");
    assert!(world.nodes[0].tun().wait_read(PATIENCE));
}
