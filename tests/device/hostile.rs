//! What anyone on the network can send changes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rvpn::dataplane::stats::Drop;
use rvpn::platform::fake::Train;

use crate::config;
use crate::world::World;

const STRANGER: &str = "203.0.113.66:6666";

fn stranger() -> SocketAddr {
    STRANGER.parse().expect("an address")
}

#[test]
fn a_forged_packet_inside_a_train_does_not_hurt_the_others() {
    let world = World::new(1);
    world.shake();
    world.internet.set_carrier(|mut train, arrivals| {
        if train.payloads().count() > 3 {
            let forged = 3 * train.segment_len + 20;
            train.bytes[forged] ^= 1;
        }
        arrivals.push(train);
    });
    let flow = world.flow4(0);
    let packets: Vec<_> = (0..10).map(|n| flow.numbered(n, 500)).collect();
    world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
    assert_eq!(world.nodes[1].receive(9), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.nodes[1].device.stats().drops(Drop::BadTag), 1);
}

#[test]
fn a_forged_head_of_each_train_does_not_hurt_the_others() {
    // Whoever knows the two endpoints can have the kernel merge a datagram of his in front of genuine ones.
    let world = World::new(1);
    world.shake();
    world.internet.set_carrier(|train, arrivals| {
        let mut forged = train.bytes[..train.segment_len].to_vec();
        forged[4..8].copy_from_slice(&[0xff; 4]);
        arrivals.push(Train { bytes: [forged, train.bytes].concat(), ..train });
    });
    let flow = world.flow4(0);
    const COUNT: u64 = 128;
    for round in 0..20 {
        let packets: Vec<_> = (0..COUNT).map(|n| flow.numbered(round * COUNT + n, 500)).collect();
        world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
        assert!(world.nodes[1].receive(COUNT as usize).into_iter().eq(round * COUNT..(round + 1) * COUNT));
    }
    assert!(world.nodes[1].device.stats().drops(Drop::UnknownIndex) >= 20);
}

#[test]
fn a_replayed_datagram_is_delivered_once() {
    let world = World::new(1);
    world.shake();
    world.internet.set_carrier(|train, arrivals| arrivals.extend([train.clone(), train]));
    let flow = world.flow4(0);
    for first in (0..1_000).step_by(100) {
        let packets: Vec<_> = (first..first + 100).map(|n| flow.numbered(n, 100)).collect();
        world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
        assert!(world.nodes[1].receive(100).into_iter().eq(first..first + 100));
    }
    world.internet.clear_carrier();
    world.ping(0, 7);
    assert_eq!(world.nodes[1].device.stats().drops(Drop::Replayed), 1_000);
}

#[test]
fn a_replayed_datagram_from_elsewhere_moves_no_endpoint() {
    let world = World::new(1);
    world.shake();
    let sent = world.record();
    world.ping(0, 1);
    let train = sent.entries().pop().expect("the ping");
    world.internet.deliver(&Train { from: stranger(), ..train });
    world.ping(0, 2);
    assert_eq!(config::endpoint(&world.nodes[1].device, 0), Some(world.nodes[0].outer));
    assert_eq!(world.nodes[1].device.stats().drops(Drop::Replayed), 1);
}

#[test]
fn an_unknown_index_changes_nothing_and_is_not_answered() {
    let world = World::new(1);
    world.shake();
    let sent = world.record();
    let before = config::peer_status(&world.nodes[1].device, 0);
    let mut forged = vec![4, 0, 0, 0, 1, 2, 3, 4];
    forged.resize(96, 0);
    for len in [32, 48, 96] {
        world.internet.deliver(&Train::datagram(stranger(), world.nodes[1].outer, &forged[..len]));
    }
    // What comes later through the same socket is dealt with later, and bytes are counted after they are written.
    world.ping(0, 1);
    world.ping(0, 2);
    let after = config::peer_status(&world.nodes[1].device, 0);
    assert_eq!(after.endpoint, before.endpoint);
    assert_eq!(after.last_handshake, before.last_handshake);
    let pings = after.rx_bytes - before.rx_bytes;
    assert!([80, 160].contains(&pings), "36 bytes, padded to 48, and 32, each; not {pings}");
    assert_eq!(world.nodes[1].device.stats().drops(Drop::UnknownIndex), 3);
    assert!(sent.entries().iter().all(|train| train.to != stranger()));
}

#[test]
fn datagrams_of_every_length_and_type_are_survived() {
    let world = World::new(2);
    world.shake();
    for kind in [0, 1, 2, 3, 4, 5, 255] {
        for len in (0..200).chain([1_000, 65_507]) {
            let mut bytes = vec![0xa5; len];
            for (byte, value) in bytes.iter_mut().zip([kind, 0, 0, 0]) {
                *byte = value;
            }
            world.internet.deliver(&Train::datagram(stranger(), world.nodes[1].outer, &bytes));
        }
        world.ping(0, 1);
    }
    assert!(world.nodes[1].ends.entries().is_empty());
}

#[test]
fn a_source_that_is_not_allowed_is_dropped_and_the_endpoint_roams() {
    let world = World::new(1);
    world.shake();
    let moved: SocketAddr = "198.51.100.7:51820".parse().expect("an address");
    world.nodes[0].host.set_addresses(&[moved.ip()]);
    let mut flow = world.flow4(0);
    flow.src = "10.0.0.99".parse().expect("an address");
    world.nodes[0].tun().inject(&flow.echo(false, 1));
    world.drain_tun(0);
    let device = &world.nodes[1].device;
    world.nodes[0].tun().inject(&world.flow6(0).echo(false, 2));
    assert_eq!(world.nodes[1].receive(1), [2]);
    assert_eq!(device.stats().drops(Drop::SourceNotAllowed), 1);
    assert_eq!(config::endpoint(device, 0), Some(moved));
    world.ping(1, 3);
}

#[test]
fn a_flood_of_handshake_messages_does_not_hold_up_data() {
    let world = World::new(2);
    let sent = world.record();
    world.shake();
    let initiation = sent.entries().iter().find(|train| train.bytes[0] == 1).expect("an initiation").bytes.clone();
    let sent = world.record();
    const FLOOD: usize = 5_000;
    for n in 0..FLOOD {
        let from = SocketAddr::from(([203, 0, (n >> 8) as u8, n as u8], 6_666));
        world.internet.deliver(&Train::datagram(from, world.nodes[1].outer, &initiation));
        if n % 500 == 0 {
            world.ping(0, n as u64);
            world.ping(1, n as u64);
        }
    }
    world.ping(0, 1);
    // Replies are no longer than what they answer, and are no more.
    let sent = sent.entries();
    let replies = sent.iter().filter(|train| train.to.ip().to_string().starts_with("203.0."));
    assert!(replies.clone().all(|train| train.bytes.len() == 64 && train.bytes[0] == 3));
    assert!(replies.count() <= FLOOD);
}

#[test]
fn a_response_is_found_among_a_flood() {
    // The initiator is flooded while it waits for a response: the flood is bounded, and the response comes through at
    // the latest with a retry.
    let world = World::new(1);
    let sent = world.record();
    world.nodes[1].tun().inject(&world.flow4(1).echo(false, 1));
    assert_eq!(world.nodes[0].receive(1), [1]);
    let to_0 = sent.entries().iter().find(|train| train.bytes[0] == 1).expect("an initiation").bytes.clone();
    let count = AtomicUsize::new(0);
    world.internet.set_carrier(move |train, arrivals| {
        if train.bytes[0] == 2 && count.fetch_add(1, Ordering::Relaxed) == 0 {
            arrivals.extend((0..6_000_u16).map(|n| Train {
                from: (std::net::Ipv4Addr::from([203, 0, (n >> 8) as u8, n as u8]), 6_666).into(),
                bytes: to_0.clone(),
                segment_len: to_0.len(),
                ..train.clone()
            }));
        }
        arrivals.push(train);
    });
    // The session is dead, and node 0 needs a new one.
    world.clock.advance(Duration::from_secs(200));
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 2));
    world.drain_tun(0);
    assert!(world.passes_in_time(1, 2, Duration::from_secs(30)));
}
