//! Configuration while packets fly.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rvpn::dataplane::configure::{Change, PeerChange};
use rvpn::dataplane::stats::Drop as Reason;
use rvpn::platform::fake::PATIENCE;
use rvpn::proto::keys::{PresharedKey, PublicKey};

use crate::config::{self, Keys};
use crate::packets::{Flow, is_unreachable};
use crate::world::{Log, Node, World};

/// Injects numbered packets out of node `from` until `stop`, in bursts that are read before the next.
fn pump(world: &World, from: usize, stop: &AtomicBool) {
    let flow = world.flow4(from);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let packets: Vec<_> = (number..number + 64).map(|n| flow.numbered(n, 200)).collect();
        number += 64;
        world.nodes[from].tun().inject_all(packets.iter().map(Vec::as_slice));
        world.nodes[from].tun().wait_read(PATIENCE);
    }
}

/// Runs `action` while packets go both ways.
fn under_load(world: &World, action: impl FnOnce()) {
    /// Ends the pumps also if `action` panics, which the scope would otherwise wait for.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        for from in [0, 1] {
            let stop = &stop;
            scope.spawn(move || pump(world, from, stop));
        }
        action();
        drop(stopper);
    });
}

#[test]
fn after_a_peer_is_removed_nothing_more_leaves_or_arrives() {
    for _ in 0..10 {
        let world = World::new(4);
        world.shake();
        let removed = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicUsize::new(0));
        let (from, flag, count) = (world.nodes[0].outer, Arc::clone(&removed), Arc::clone(&late));
        world.internet.set_carrier(move |train, arrivals| {
            if train.from == from && flag.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            arrivals.push(train);
        });
        under_load(&world, || {
            assert!(!world.nodes[0].tun().wait_written(500, PATIENCE).is_empty());
            config::remove_peers(&world.nodes[0].device);
            removed.store(true, Ordering::SeqCst);
            world.nodes[0].tun().take_written();
        });
        world.drain_tun(0);
        assert_eq!(late.load(Ordering::SeqCst), 0, "datagrams left after the peer was removed");
        let arrived = world.nodes[0].tun().take_written();
        let arrived = arrived.iter().filter(|written| !is_unreachable(written)).count();
        assert_eq!(arrived, 0, "packets were delivered after the peer was removed");
    }
}

#[test]
fn after_down_nothing_more_leaves_or_arrives() {
    for _ in 0..10 {
        let world = World::new(4);
        world.shake();
        let is_down = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicUsize::new(0));
        let (from, flag, count) = (world.nodes[0].outer, Arc::clone(&is_down), Arc::clone(&late));
        world.internet.set_carrier(move |train, arrivals| {
            if train.from == from && flag.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            arrivals.push(train);
        });
        under_load(&world, || {
            assert!(!world.nodes[0].tun().wait_written(500, PATIENCE).is_empty());
            config::down(&world.nodes[0].device);
            is_down.store(true, Ordering::SeqCst);
            world.nodes[0].tun().take_written();
        });
        assert!(world.nodes[0].tun().wait_read(PATIENCE));
        assert_eq!(late.load(Ordering::SeqCst), 0, "datagrams left after the interface went down");
        assert!(world.nodes[0].tun().take_written().is_empty(), "packets were delivered after it went down");
    }
}

#[test]
fn peers_that_come_and_go_leave_no_deadlines_behind() {
    let world = World::new(1);
    let device = &world.nodes[0].device;
    let elsewhere: SocketAddr = "192.0.2.99:1".parse().unwrap();
    let mut most = 0;
    for n in 0..500_u32 {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&n.to_le_bytes());
        let peer = PublicKey(key);
        config::add_peer(device, peer, Some(elsewhere), &[]);
        config::set_keepalive(device, peer, 25);
        most = most.max(device.objects().deadlines);
        config::apply_peer(device, PeerChange { remove: true, ..PeerChange::new(peer) });
        // The handshake thread still has those that it was asked to initiate to.
        while device.objects().queued > 0 {
            std::thread::yield_now();
        }
    }
    assert!((10..=70).contains(&most), "{most} deadlines, of one peer and another at a time");
}

#[test]
fn a_handshake_message_that_is_being_sent_is_waited_for_before_a_peer_is_gone() {
    let world = World::new(1);
    let (entered, sending) = mpsc::channel();
    let (removed, gone) = mpsc::channel();
    let order = Arc::new(Log::new());
    let seen = Arc::clone(&order);
    world.internet.set_carrier(move |train, _| {
        if train.bytes[0] == 1 {
            entered.send(()).expect("the test waits");
            // A device that does not wait has its peer removed by now; one that does has to be let go.
            let _ = gone.recv_timeout(Duration::from_millis(300));
            seen.push("the initiation left");
        }
    });
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
    sending.recv_timeout(PATIENCE).expect("an initiation is sent");
    config::remove_peers(&world.nodes[0].device);
    order.push("the peer was removed");
    let _ = removed.send(());
    drop(order.wait("both", |events| events.len() == 2));
    assert_eq!(*order.entries(), ["the initiation left", "the peer was removed"]);
}

#[test]
fn an_interface_that_went_down_has_given_its_port_back() {
    let world = World::new(1);
    let (entered, sending) = mpsc::channel();
    let (is_up, went_up) = mpsc::channel::<()>();
    world.internet.set_carrier(move |_, _| {
        let _ = entered.send(());
        // As above: who waits for the send has to be let go.
        let _ = went_up.recv_timeout(Duration::from_millis(300));
    });
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
    sending.recv_timeout(PATIENCE).expect("an initiation is sent");
    world.nodes[0].device.down();
    let result = world.nodes[0].device.up();
    drop(is_up);
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_packet_never_goes_to_another_peer_than_its_route_says() {
    // A peer is removed and another one takes its place while a packet is on its way from its route to its peer.
    let world = World::new(1);
    let stranger = Keys::of_node(7);
    let (node, other) = (&world.nodes[0], &world.nodes[1]);
    let (entered, writing) = mpsc::channel();
    let (changed, go_on) = mpsc::channel::<()>();
    node.tun().set_watcher(move |_| {
        let _ = entered.send(());
        let _ = go_on.recv_timeout(PATIENCE);
    });
    let sent = world.hold();
    // The second packet has no route: that is reported after all routes are known, and before anything is sent.
    let packets = [world.flow4(0).echo(false, 1), Flow::new("10.0.0.1", "203.0.113.99").udp(b"nobody carries this")];
    node.tun().inject_all(packets.iter().map(Vec::as_slice));
    writing.recv_timeout(PATIENCE).expect("the report");
    config::remove_peers(&node.device);
    config::add_peer(&node.device, stranger.public, Some(other.outer), &["10.0.0.7".parse().expect("an address")]);
    // No more waiting in the watcher.
    drop(changed);
    world.drain_tun(0);
    // Handshakes are asked for one after the other: once there is one with a third peer, there was none before it.
    let third: SocketAddr = "192.0.2.3:3".parse().expect("an address");
    let address = "10.0.0.8".parse().expect("an address");
    config::add_peer(&node.device, Keys::of_node(8).public, Some(third), &[address]);
    node.tun().inject(&Flow::new("10.0.0.1", "10.0.0.8").echo(false, 2));
    let sent = sent.wait("an initiation to the third", |trains| trains.iter().any(|train| train.to == third));
    assert!(sent.iter().all(|train| train.to == third), "a packet was staged for a peer that does not own its address");
}

#[test]
fn nothing_prints_a_secret() {
    let world = World::new(1);
    let (node, other) = (&world.nodes[0], &world.nodes[1]);
    let preshared = [0xa7; 32];
    config::set_preshared_key(&node.device, other.keys.public, preshared);
    let change = Change {
        private_key: Some(Some(node.keys.private.clone())),
        peers: vec![PeerChange {
            preshared_key: Some(PresharedKey::new(preshared)),
            ..PeerChange::new(other.keys.public)
        }],
        ..Change::default()
    };
    let snapshot = node.device.snapshot();
    let printed =
        [format!("{change:?}"), format!("{change:#?}"), format!("{snapshot:?}"), format!("{snapshot:#?}")].concat();
    // Node 0's private key is 0x40 repeated.
    for secret in ["a7a7", "A7A7", "167, 167", "167,\n", "p6en", "4040", "64, 64", "64,\n", "QEBA"] {
        assert!(!printed.contains(secret), "{secret:?} in {printed}");
    }
    assert!(printed.contains("redacted"));
}

#[test]
fn replacing_the_same_configuration_loses_no_packet() {
    let world = World::new(2);
    world.shake();
    let done = AtomicBool::new(false);
    let storms = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (node, other) in [(&world.nodes[0], &world.nodes[1]), (&world.nodes[1], &world.nodes[0])] {
                    config::replace_same(&node.device, other.keys.public, &other.inner);
                }
                storms.fetch_add(1, Ordering::Relaxed);
            }
        });
        let flow = world.flow4(0);
        let mut ok = true;
        for first in (0..10_000).step_by(100) {
            let packets: Vec<_> = (first..first + 100).map(|n| flow.numbered(n, 300)).collect();
            world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
            ok = world.nodes[1].receive(100).into_iter().eq(first..first + 100);
            if !ok {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(ok, "every packet arrives, in order");
    });
    assert!(storms.load(Ordering::Relaxed) > 10, "there was a storm");
}

#[test]
fn a_storm_of_changes_under_load_leaves_a_tunnel_that_works() {
    let world = World::new(4);
    world.shake();
    under_load(&world, || {
        for round in 0..200_u64 {
            let [node, other] = [0, 1].map(|n| &world.nodes[(round as usize + n) % 2]);
            match round % 6 {
                0 => {
                    config::remove_peers(&node.device);
                    config::add_peer(&node.device, other.keys.public, Some(other.outer), &other.inner);
                }
                1 => config::set_keepalive(&node.device, other.keys.public, (round % 30) as u16),
                2 => config::set_up(&node.device, &node.keys, node.outer.port()),
                3 => config::remove_allowed_ips(&node.device, other.keys.public),
                4 => config::add_peer(&node.device, other.keys.public, Some(other.outer), &other.inner),
                _ => {
                    config::set_up(&node.device, &node.keys, 51_821);
                    config::set_up(&node.device, &node.keys, node.outer.port());
                }
            }
            world.clock.advance(Duration::from_millis(7));
        }
        for (node, other) in [(&world.nodes[0], &world.nodes[1]), (&world.nodes[1], &world.nodes[0])] {
            config::add_peer(&node.device, other.keys.public, Some(other.outer), &other.inner);
        }
    });
    works_again(&world);
}

#[test]
fn an_interface_survives_going_up_and_down_under_load() {
    let world = World::new(4);
    for _ in 0..10 {
        under_load(&world, || {
            for round in 0..50 {
                let node: &Node = &world.nodes[round % 2];
                config::down(&node.device);
                world.clock.advance(Duration::from_millis(30));
                config::up(&node.device);
            }
        });
        works_again(&world);
    }
}

#[test]
fn an_end_that_forgot_its_sessions_is_reached_again() {
    let world = World::new(4);
    world.shake();
    config::down(&world.nodes[1].device);
    world.clock.advance(Duration::from_millis(30));
    config::up(&world.nodes[1].device);
    works_again(&world);
}

/// After whatever happened, packets pass both ways, within a few attempts at a handshake. One a second: what is sent with
/// a session that only one end still has is lost.
fn works_again(world: &World) {
    for n in [0, 1] {
        world.drain_tun(n);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        const MARK: u64 = 1 << 40;
        let passes = (MARK..MARK + 30).any(|number| {
            world.nodes[from].tun().inject(&world.flow4(from).echo(false, number));
            world.passes_in_time(to, number, Duration::from_secs(1))
        });
        assert!(passes, "no packet passes out of node {from}");
    }
    for node in &world.nodes {
        assert!(node.ends.entries().is_empty());
        node.tun().take_written();
    }
}

#[test]
fn a_port_that_was_taken_when_the_interface_went_up_is_mended_by_naming_one() {
    for port in [51_820, 51_821] {
        let world = World::new(1);
        let node = &world.nodes[0];
        config::down(&node.device);
        let squatter = node.host.platform().network.bind(node.outer.port(), 0).expect("the port is free");
        assert!(node.device.up().is_err(), "the port is taken");
        let named = || Change { listen_port: Some(port), ..Change::default() };
        if port == node.outer.port() {
            assert!(node.device.apply(named()).is_err(), "it still is, and that is told");
            drop(squatter);
        }
        node.device.apply(named()).expect("this port is free");
        world.ping(0, 1);
        assert_eq!(node.device.snapshot().listen_port, port);
    }
}

#[test]
fn nothing_that_was_made_outlives_its_use() {
    let world = World::new(4);
    for round in 0..20_u64 {
        under_load(&world, || {
            let node = &world.nodes[0];
            match round % 4 {
                0 => config::remove_peers(&node.device),
                1 => config::down(&node.device),
                2 => config::apply(&node.device, Change { private_key: Some(None), ..Change::default() }),
                _ => {}
            }
            config::set_up(&node.device, &node.keys, node.outer.port());
            config::add_peer(
                &node.device,
                world.nodes[1].keys.public,
                Some(world.nodes[1].outer),
                &world.nodes[1].inner,
            );
            config::up(&node.device);
            world.clock.advance(Duration::from_millis(200));
        });
        works_again(&world);
    }
    for node in &world.nodes {
        let running = node.device.objects();
        assert!(running.keypairs > 0 && !running.is_balanced(), "{running}");
        node.stop();
        config::down(&node.device);
        let left = node.device.objects();
        assert!(left.is_balanced(), "{left}");
        assert!(left.keypairs_made > 5 && left.buffers_made > 0, "{left}");
    }
    assert_eq!(world.nodes[0].device.objects().peers_made, 6);
}

#[test]
fn a_peer_that_is_forgotten_keeps_what_was_configured_and_shakes_hands_anew() {
    let world = World::new(1);
    world.shake();
    let [near, far] = &world.nodes;
    let configured: SocketAddr = "192.0.2.77:7".parse().expect("an address");
    config::add_peer(&near.device, far.keys.public, Some(configured), &far.inner);
    world.ping(1, 1);
    assert_eq!(config::endpoint(&near.device, 0), Some(far.outer), "it was heard from there");

    assert_eq!(near.device.forget(Some(&far.keys.public)), 1);
    assert_eq!(config::endpoint(&near.device, 0), Some(configured));
    assert_eq!(near.device.objects().keypairs, 0);
    assert_eq!(near.device.snapshot().peers[0].allowed_ips.len(), 2);
    assert_eq!(near.device.forget(Some(&PublicKey([9; 32]))), 0);

    // A second initiation within moments would be taken for a flood.
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(far.device.forget(None), 1);
    world.ping(1, 2);
    assert_eq!(config::endpoint(&near.device, 0), Some(far.outer));
}

#[test]
fn limits_hold_each_way_and_what_is_over_them_is_counted() {
    let world = World::new(1);
    world.shake();
    let [near, far] = &world.nodes;
    let limit = |node: &Node, of: &Node, rate_up, rate_down| {
        config::apply_peer(&node.device, PeerChange { rate_up, rate_down, ..PeerChange::new(of.keys.public) });
    };
    // Time stands still: of 64 packets of more than 125 bytes, one fits into a quarter of a second at 500 bytes a second.
    let burst = || {
        let packets: Vec<_> = (0..64).map(|n| world.flow4(0).numbered(n, 200)).collect();
        near.tun().inject_all(packets.iter().map(Vec::as_slice));
        assert_eq!(far.receive(1), [0]);
        world.clock.advance(Duration::from_secs(10));
        world.ping(0, 1000);
        world.clock.advance(Duration::from_secs(10));
    };
    limit(near, far, None, Some(4_000));
    burst();
    assert_eq!(near.device.stats().drops(Reason::OverRateDown), 63);

    limit(near, far, None, Some(0));
    limit(far, near, Some(4_000), None);
    burst();
    assert_eq!(near.device.stats().drops(Reason::OverRateDown), 63, "there is no limit any more");
    assert_eq!(far.device.stats().drops(Reason::OverRateUp), 63);
    assert_eq!((far.device.snapshot().peers[0].rate_up, far.device.snapshot().peers[0].rate_down), (4_000, 0));
}

#[test]
fn a_peer_that_a_file_describes_stays_when_all_are_replaced() {
    let world = World::new(1);
    let (device, key) = (&world.nodes[0].device, world.nodes[1].keys.public);
    config::apply_peer(device, PeerChange { is_from_file: true, ..PeerChange::new(key) });
    config::apply_peer(device, PeerChange::new(PublicKey([9; 32])));
    world.shake();
    config::remove_peers(device);
    assert_eq!(device.snapshot().peers.iter().map(|peer| peer.public_key).collect::<Vec<_>>(), [key]);
    world.ping(0, 1);
    config::apply_peer(device, PeerChange { remove: true, ..PeerChange::new(key) });
    assert!(device.snapshot().peers.is_empty());
}
