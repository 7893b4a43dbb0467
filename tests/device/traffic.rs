//! Packets go through: whole, in order, merged where they may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rvpn::dataplane::offload::Segmentation;
use rvpn::dataplane::stats::Drop;
use rvpn::platform::fake::{Train, Written};

use crate::config;
use crate::packets::{Flow, numbers, payloads};
use crate::world::{Log, World};

#[test]
fn pings_pass_both_ways_over_either_family() {
    for world in [World::new(1), World::over_ipv6(1)] {
        for (from, to) in [(0, 1), (1, 0)] {
            for flow in [world.flow4(from), world.flow6(from)] {
                let request = flow.echo(false, 1);
                world.nodes[from].tun().inject(&request);
                let received = world.nodes[to].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
                assert_eq!(received, [Written { bytes: request, offload: Default::default() }]);
            }
        }
    }
}

#[test]
fn packets_of_every_size_arrive_as_they_were_sent() {
    let world = World::new(1);
    world.nodes.iter().for_each(|node| node.device.set_mtu(65_000));
    world.shake();
    for (number, len) in [8, 9, 15, 16, 17, 100, 1_391, 1_392, 1_393, 9_000, 64_000].into_iter().enumerate() {
        let packet = world.flow4(0).numbered(number as u64, len);
        world.nodes[0].tun().inject(&packet);
        let received = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
        assert_eq!(received.iter().map(|written| &written.bytes).collect::<Vec<_>>(), [&packet], "{len} bytes");
    }
}

#[test]
fn a_super_packet_goes_in_a_train_goes_over_and_a_merged_packet_comes_out() {
    let payload: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
    for (family, segmentation) in [(4, Segmentation::Tcp4), (6, Segmentation::Tcp6)] {
        let world = World::new(1);
        world.shake();
        let sent = world.record();
        let flow = if family == 4 { world.flow4(0) } else { world.flow6(0) };
        let (packet, offload) = flow.tcp_super(1, &payload, 1_360);
        world.nodes[0].tun().inject_offloaded(&packet, offload);
        let mut written = Vec::new();
        while payloads(&written).concat().len() < payload.len() {
            let more = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
            assert!(!more.is_empty(), "all of the stream arrives");
            written.extend(more);
        }
        assert_eq!(payloads(&written).concat(), payload);
        assert!(written.iter().any(|write| write.offload.segmentation == Some(segmentation)), "merged again");
        let trains: Vec<_> = sent.entries().iter().map(|train| train.payloads().count()).collect();
        assert_eq!(trains, [40_000_usize.div_ceil(1_360)], "one system call for all of it");
    }
}

#[test]
fn segments_carry_finished_headers() {
    let world = World::new(1);
    world.shake();
    world.nodes[1].tun().refuse_merged(Some(22));
    let (packet, offload) = world.flow4(0).tcp_super(1_000, &[7; 2_500], 1_000);
    world.nodes[0].tun().inject_offloaded(&packet, offload);
    let mut bytes = Vec::new();
    while bytes.len() < 3 {
        let written = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
        assert!(!written.is_empty());
        for write in written {
            // Refused merged, and so written singly.
            assert_eq!(write.offload, Default::default());
            bytes.push(write.bytes);
        }
    }
    for (n, packet) in bytes.iter().enumerate() {
        let payload = vec![7; if n < 2 { 1_000 } else { 500 }];
        let mut expected = world.flow4(0).tcp(1_000 + 1_000 * n as u32, &payload);
        // Identification and the checksum over it are the sender's choice.
        expected[4..6].copy_from_slice(&packet[4..6]);
        expected[10..12].copy_from_slice(&packet[10..12]);
        assert!(*packet == expected, "segment {n}: {:x?} instead of {:x?}", &packet[..40], &expected[..40]);
    }
}

#[test]
fn the_last_128_packets_before_a_handshake_arrive_in_order() {
    let world = World::new(1);
    let held = world.hold();
    let flow = world.flow4(0);
    let packets: Vec<_> = (0..200).map(|number| flow.numbered(number, 100)).collect();
    world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
    world.drain_tun(0);
    drop(held.wait("the first initiation", |trains| trains.len() == 1));
    world.internet.clear_carrier();
    world.clock.advance(Duration::from_millis(5_334));
    let received = world.nodes[1].receive(128);
    assert_eq!(received, (72..200).collect::<Vec<_>>());
}

#[test]
fn order_is_kept_with_eight_workers_under_backlog() {
    let world = World::new(8);
    world.shake();
    const COUNT: u64 = 20_000;
    // Bursts larger than what is read at once, so that batches are shared; no more in flight than all queues hold.
    const WINDOW: u64 = 1_024;
    let flow = world.flow4(0);
    let (mut sent, mut received) = (0, Vec::new());
    while (received.len() as u64) < COUNT {
        let until = COUNT.min(received.len() as u64 + WINDOW);
        if until - sent >= WINDOW / 2 || until == COUNT {
            let packets: Vec<_> = (sent..until).map(|n| flow.numbered(n, 64 + (n % 7) as usize * 100)).collect();
            world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
            sent = until;
        }
        let written = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
        assert!(!written.is_empty(), "{} of {COUNT} arrived", received.len());
        received.extend(numbers(&written));
    }
    assert!(received.into_iter().eq(0..COUNT), "all of them, in order");
    assert!(world.nodes[0].device.stats().shared_batches() > 0, "or it would show nothing");
}

#[test]
fn a_flood_of_datagrams_pauses_for_its_readers_only_where_others_wait_for_the_core() {
    let world = World::new(1);
    world.shake();
    let flow = world.flow4(0);
    let flood = |datagrams: u64| {
        let before = world.clock.rests();
        // No more at once than all queues hold.
        for first in (0..datagrams).step_by(256) {
            let packets: Vec<_> = (first..first + 256).map(|n| flow.numbered(n, 100)).collect();
            world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
            assert_eq!(world.nodes[1].receive(256), (first..first + 256).collect::<Vec<_>>());
        }
        world.clock.rests() - before
    };
    assert_eq!(flood(1_024), 0, "it has a core to itself");
    world.clock.preempt();
    assert!(flood(512) >= 1);
    assert!(flood(4_096) >= 8, "a preemption is remembered for a while");
    assert_eq!(flood(1_024), 0, "and then forgotten");
}

#[test]
fn order_is_kept_both_ways_at_once() {
    let world = World::new(4);
    world.shake();
    const COUNT: u64 = 5_000;
    std::thread::scope(|scope| {
        for (from, to) in [(0, 1), (1, 0)] {
            let world = &world;
            scope.spawn(move || {
                let flow = world.flow6(from);
                for first in (0..COUNT).step_by(500) {
                    let packets: Vec<_> = (first..first + 500).map(|n| flow.numbered(n, 300)).collect();
                    world.nodes[from].tun().inject_all(packets.iter().map(Vec::as_slice));
                    let received = world.nodes[to].receive(500);
                    assert!(received.into_iter().eq(first..first + 500), "out of node {from} from {first} on");
                }
            });
        }
    });
}

#[test]
fn order_is_kept_over_a_change_of_keys_within_a_train() {
    let world = World::new(1);
    // Up to an age of 115 s, both talking, so that no timer has a reason to go off.
    for _ in 0..23 {
        world.shake();
        world.clock.advance(Duration::from_secs(5));
    }
    world.shake();
    let data = Arc::new(Log::new());
    let held = Arc::clone(&data);
    let from = world.nodes[0].outer;
    world.internet.set_carrier(move |train, arrivals| {
        if train.from == from && train.bytes[0] == 4 && train.segment_len > 32 {
            train.split().for_each(|datagram| held.push(datagram));
        } else {
            arrivals.push(train);
        }
    });
    let flow = world.flow4(0);
    for number in 0..10 {
        world.nodes[0].tun().inject(&flow.numbered(number, 100));
    }
    drop(data.wait("packets under the old key", |trains| trains.len() == 10));
    // The next packet asks for a new key, and is the last one under the old.
    world.clock.advance(Duration::from_secs(6));
    world.nodes[0].tun().inject(&flow.numbered(10, 100));
    // More packets, until ten of them are under the new key.
    let receiver = |train: &Train| train.bytes[4..8].to_vec();
    let mut count = 11;
    loop {
        let trains = data.wait("the packet", |trains| trains.len() == count);
        let old = receiver(&trains[0]);
        if trains.iter().filter(|train| receiver(train) != old).count() == 10 {
            break;
        }
        drop(trains);
        assert!(count < 10_000, "no new key");
        world.nodes[0].tun().inject(&flow.numbered(count as u64, 100));
        count += 1;
    }
    world.internet.clear_carrier();
    let first = data.entries()[0].clone();
    for trains in data.entries().chunks(64) {
        let bytes = trains.iter().flat_map(|train| train.bytes.clone()).collect();
        world.internet.deliver(&Train { bytes, ..first.clone() });
    }
    assert_eq!(world.nodes[1].receive(count), (0..count as u64).collect::<Vec<_>>());
}

#[test]
fn ecn_is_carried_over_the_tunnel() {
    let world = World::new(1);
    world.shake();
    let sent = world.record();
    let flow = world.flow6(0);
    let udp = flow.udp(b"12345678");
    for (inner, outer) in [(0, 0), (1, 1), (2, 2), (3, 2)] {
        world.nodes[0].tun().inject(&flow.ip(17, inner, &udp[40..]));
        let written = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
        assert_eq!((written[0].bytes[1] >> 4) & 3, inner);
        assert_eq!(sent.entries().last().map(|train| train.ds), Some(outer));
    }
    // Congestion on the way marks the inner packet.
    world.internet.set_carrier(|train, arrivals| arrivals.push(rvpn::platform::fake::Train { ds: 3, ..train }));
    world.nodes[0].tun().inject(&flow.ip(17, 2, &udp[40..]));
    let written = world.nodes[1].tun().wait_written(1, rvpn::platform::fake::PATIENCE);
    assert_eq!((written[0].bytes[1] >> 4) & 3, 3);
}

#[test]
fn a_local_sender_learns_that_no_peer_carries_its_packet() {
    let world = World::new(1);
    world.drain_tun(0);
}

/// A datagram out of our own port may be carried to another peer, or elsewhere by the same one: a tunnel in a tunnel.
#[test]
fn a_datagram_of_ours_to_the_peer_that_would_carry_it_is_dropped_and_other_nesting_is_carried() {
    for world in [World::new(1), World::over_ipv6(1)] {
        let [node, other] = &world.nodes;
        config::add_peer(&node.device, other.keys.public, None, &[other.outer.ip()]);
        config::add_peer(&other.device, node.keys.public, None, &[node.outer.ip()]);
        world.shake();
        let numbered = |src_port, dst: SocketAddr, number| {
            let flow = Flow { src: node.outer.ip(), dst: dst.ip(), src_port, dst_port: dst.port() };
            node.tun().inject(&flow.numbered(number, 100));
        };
        let elsewhere = SocketAddr::new(other.outer.ip(), other.outer.port() + 1);
        numbered(node.outer.port(), other.outer, 1);
        numbered(node.outer.port(), elsewhere, 2);
        numbered(node.outer.port() + 1, other.outer, 3);
        assert_eq!(other.receive(2), [2, 3]);
        assert_eq!(node.device.stats().drops(Drop::RoutingLoop), 1);
    }
}
