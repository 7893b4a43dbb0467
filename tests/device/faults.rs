//! What the operating system refuses, after it has worked, costs no packet.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use rvpn::dataplane::stats::Drop;
use rvpn::dataplane::workers::End;
use rvpn::platform::fake::{PATIENCE, Written};

use crate::config;
use crate::packets::{Flow, payloads};
use crate::world::{Log, World};

/// Error numbers, as `std::io::Error::raw_os_error` knows them.
const INVALID: i32 = 22;
const IO: i32 = 5;
const NOT_PERMITTED: i32 = 1;
const NO_MEMORY: i32 = 12;
const MESSAGE_TOO_LONG: i32 = 90;
const NO_BUFFERS: i32 = 105;
const ADDRESS_NOT_AVAILABLE: i32 = 99;
const NETWORK_UNREACHABLE: i32 = 101;
const CONNECTION_REFUSED: i32 = 111;

/// Sends a stream of `len` bytes as one super-packet from node 0 and expects all of it at node 1.
fn stream(world: &World, len: usize) {
    let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let (packet, offload) = world.flow4(0).tcp_super(1, &payload, 1_360);
    world.nodes[0].tun().inject_offloaded(&packet, offload);
    let mut received = Vec::new();
    while received.len() < len {
        let written = world.nodes[1].tun().wait_written(1, PATIENCE);
        assert!(!written.is_empty(), "{} of {len} bytes arrived", received.len());
        received.extend(payloads(&written).concat());
    }
    assert!(received == payload, "the stream arrives whole and in order");
}

#[test]
fn a_tun_that_refuses_merged_writes_costs_no_packet() {
    for errno in [INVALID, IO] {
        let world = World::new(1);
        world.shake();
        stream(&world, 30_000);
        let tun = world.nodes[1].tun();
        tun.refuse_merged(Some(errno));
        stream(&world, 30_000);
        let refused = tun.refused();
        assert!(refused > 0, "the refusal was met");
        stream(&world, 30_000);
        if errno == INVALID {
            assert_eq!(tun.refused(), refused, "what was refused is not tried again");
            assert!(!world.nodes[1].device.offloads().classes().tcp4);
            assert!(world.nodes[1].device.offloads().classes().udp6, "other classes stay");
            let shown = world.nodes[1].device.snapshot().offloads.expect("up");
            assert!(!shown.classes.tcp4 && shown.classes.udp6 && shown.sends_trains && shown.receives_trains);
        }
    }
}

#[test]
fn a_socket_that_refuses_trains_costs_no_packet() {
    for errno in [INVALID, IO] {
        let world = World::new(1);
        world.shake();
        stream(&world, 30_000);
        world.nodes[0].host.refuse_trains(Some(errno));
        stream(&world, 30_000);
        assert!(!world.nodes[0].device.offloads().sends_trains());
        assert!(!world.nodes[0].device.snapshot().offloads.expect("up").sends_trains, "and that is shown");
        let sent = world.record();
        stream(&world, 30_000);
        assert!(sent.entries().iter().all(|train| train.payloads().count() == 1), "not tried again");
    }
}

#[test]
fn a_train_too_wide_for_its_path_costs_no_packet_and_says_nothing_of_the_socket() {
    // EINVAL is the answer of kernels before 6.14.
    for errno in [INVALID, MESSAGE_TOO_LONG] {
        let world = World::new(1);
        world.shake();
        world.nodes[0].host.narrow_path(Some((world.nodes[1].outer.ip(), 1_300, errno)));
        stream(&world, 30_000);
        assert!(world.nodes[0].device.offloads().sends_trains(), "others' trains are not wider than their paths");
        let sent = world.record();
        world.nodes[0].host.narrow_path(None);
        stream(&world, 30_000);
        assert!(sent.entries().iter().any(|train| train.payloads().count() > 1), "a path that widens carries trains");
    }
}

#[test]
fn senders_are_told_of_a_narrow_path_and_their_packets_carried_all_the_same() {
    // 1,300 bytes less 60 or 80 for headers and tag, in whole paddings; IPv6 inside is never told less than 1,280.
    for (world, expected) in [(World::new(1), 1_232), (World::over_ipv6(1), 1_216)] {
        let told = |flow: Flow, word: std::ops::Range<usize>, kind: [u8; 2]| {
            let (packet, offload) = flow.tcp_super(1, &[0x5a; 30_000], 1_360);
            world.nodes[0].tun().inject_offloaded(&packet, offload);
            let is_report = |written: &Written| written.bytes[word.start - 6..][..2] == kind;
            let report = world.nodes[0].tun().wait_for(PATIENCE, is_report).expect("a message to the sender");
            u16::from_be_bytes([report.bytes[word.start], report.bytes[word.start + 1]])
        };
        world.nodes[0].host.narrow_path(Some((world.nodes[1].outer.ip(), 1_300, MESSAGE_TOO_LONG)));
        world.shake();
        // Long packets have the path asked for; the next ones are told.
        stream(&world, 30_000);
        assert_eq!(told(world.flow4(0), 26..28, [3, 4]), expected);
        assert_eq!(told(world.flow6(0), 46..48, [2, 0]), 1_280);
    }
}

#[test]
fn a_kernel_that_spoils_the_tail_of_equal_trains_costs_no_other_packet() {
    // Seen of Linux 6.17 to 7.1: of a train whose last datagram is as long as the others, the last is damaged.
    const SEGMENTS: usize = 20;
    let world = World::new(1);
    world.shake();
    let trains = Arc::new(AtomicUsize::new(0));
    let spoiled = Arc::clone(&trains);
    world.internet.set_carrier(move |mut train, arrivals| {
        if train.payloads().count() > 1 && train.bytes.len().is_multiple_of(train.segment_len) {
            spoiled.fetch_add(1, Ordering::Relaxed);
            let middle = train.bytes.len() - train.segment_len / 2;
            train.bytes[middle] ^= 0xff;
        }
        arrivals.push(train);
    });
    let payload: Vec<u8> = (0..SEGMENTS * 1_360).map(|n| (n % 251) as u8).collect();
    let (packet, offload) = world.flow4(0).tcp_super(1, &payload, 1_360);
    world.nodes[0].tun().inject_offloaded(&packet, offload);
    world.drain_tun(0);
    let lost = trains.load(Ordering::Relaxed);
    assert_eq!(lost, 1, "the fault was met, in one train");
    let written = world.nodes[1].tun().wait_written(1, PATIENCE);
    let received = payloads(&written).concat();
    let bad = world.nodes[1].device.stats().drops(Drop::BadTag);
    assert_eq!(bad, 1, "nothing but the tails is refused");
    assert!(received == payload[..(SEGMENTS - 1) * 1_360], "what is not damaged arrives, merged and in order");
    assert!(world.nodes[0].device.offloads().sends_trains(), "one damaged datagram is no reason to stop");
    world.internet.clear_carrier();
    world.ping(0, 2);
}

#[test]
fn an_endpoint_that_refuses_everything_does_not_end_trains_for_all() {
    let world = World::new(1);
    world.shake();
    world.nodes[0].host.refuse_sends(Some(INVALID));
    let payload = vec![0; 30_000];
    let (packet, offload) = world.flow4(0).tcp_super(1, &payload, 1_360);
    world.nodes[0].tun().inject_offloaded(&packet, offload);
    world.drain_tun(0);
    assert!(world.nodes[0].device.stats().drops(Drop::Send) >= 22, "every datagram is counted");
    assert!(world.nodes[0].device.offloads().sends_trains(), "the train was not the reason");
    world.nodes[0].host.refuse_sends(None);
    stream(&world, 30_000);
}

#[test]
fn a_socket_without_trains_is_never_given_one() {
    let world = World::new(1);
    world.nodes[0].host.set_max_segments(1);
    world.shake();
    stream(&world, 30_000);
}

#[test]
fn a_cached_source_that_stops_working_is_given_up_and_costs_no_packet() {
    for errno in [INVALID, ADDRESS_NOT_AVAILABLE, NETWORK_UNREACHABLE] {
        for max_segments in [64, 1] {
            let world = World::new(1);
            world.shake();
            world.nodes[0].host.set_max_segments(max_segments);
            world.nodes[0].host.refuse_sources(Some(errno));
            stream(&world, 30_000);
            stream(&world, 30_000);
        }
    }
}

#[test]
fn an_error_of_sends_costs_what_is_sent_meanwhile_and_no_more() {
    let errors = [NOT_PERMITTED, NO_MEMORY, MESSAGE_TOO_LONG, NETWORK_UNREACHABLE, NO_BUFFERS, CONNECTION_REFUSED];
    for errno in errors {
        let world = World::new(1);
        world.shake();
        world.nodes[0].host.refuse_sends(Some(errno));
        let (packet, offload) = world.flow4(0).tcp_super(1, &[0; 30_000], 1_360);
        world.nodes[0].tun().inject_offloaded(&packet, offload);
        world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
        world.drain_tun(0);
        let lost = world.nodes[0].device.stats().drops(Drop::Send);
        assert!(lost >= 24, "{lost} packets are counted, of 23 segments and a ping");
        world.nodes[0].host.refuse_sends(None);
        stream(&world, 30_000);
        world.ping(0, 2);
        assert!(world.nodes[0].device.offloads().sends_trains(), "the trains were not the reason");
        assert!(world.nodes[0].ends.entries().is_empty());
    }
}

#[test]
fn an_error_of_receptions_costs_no_packet() {
    for errno in [IO, NO_MEMORY, NO_BUFFERS, CONNECTION_REFUSED] {
        let world = World::new(1);
        world.shake();
        world.nodes[1].host.refuse_receptions(Some(errno));
        world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
        world.drain_tun(0);
        // The same thread does both: it is not held up.
        world.ping(1, 2);
        world.nodes[1].host.refuse_receptions(None);
        assert_eq!(world.nodes[1].receive(1), [1]);
    }
}

#[test]
fn a_tun_that_refuses_every_write_costs_what_comes_meanwhile_and_no_more() {
    for errno in [INVALID, IO, NO_MEMORY, NO_BUFFERS] {
        let world = World::new(1);
        world.shake();
        let tun = world.nodes[1].tun();
        tun.refuse_writes(Some(errno));
        let tries = Arc::new(Log::new());
        let tried = Arc::clone(&tries);
        tun.set_watcher(move |_| tried.push(()));
        let (packet, offload) = world.flow4(0).tcp_super(1, &[0; 30_000], 1_360);
        world.nodes[0].tun().inject_offloaded(&packet, offload);
        drop(tries.wait("the merged packet and its 23 segments", |tries| tries.len() >= 24));
        // Its only packet thread has done with them when it sends something.
        world.ping(1, 1);
        assert_eq!(world.nodes[1].device.stats().drops(Drop::TunWrite), 23);
        tun.refuse_writes(None);
        stream(&world, 30_000);
        assert!(world.nodes[1].device.offloads().classes().tcp4, "that they were merged was not the reason");
        assert!(world.nodes[1].ends.entries().is_empty());
    }
}

#[test]
fn a_removed_interface_ends_the_device_in_order() {
    let world = Arc::new(World::new(3));
    world.shake();
    world.nodes[0].tun().remove();
    assert_eq!(*world.nodes[0].ends.wait("the end", |ends| !ends.is_empty()), [End::TunGone]);
    within_patience("the threads to end", &world, |world| world.nodes[0].stop());
    assert_eq!(world.nodes[0].ends.entries().len(), 1, "told once");
    assert!(world.nodes[1].ends.entries().is_empty());
}

#[test]
fn a_panic_in_a_thread_ends_the_device_in_order() {
    let world = Arc::new(World::new(3));
    world.shake();
    let armed = Arc::new(AtomicBool::new(true));
    world.internet.set_carrier(move |train, arrivals| {
        assert!(train.bytes[0] != 4 || !armed.swap(false, Ordering::Relaxed), "this panic belongs to the test");
        arrivals.push(train);
    });
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
    let ends = world.nodes[0].ends.wait("the end", |ends| !ends.is_empty()).clone();
    // The keepalive that ends the handshake may still be on its way out, in the thread that sends it.
    let died = |name: &str| ["packets", "handshakes"].contains(&name);
    assert!(matches!(&ends[..], [End::ThreadFailed(name)] if died(name)), "{ends:?}");
    // Neither the joining nor what an owner does before he leaves may wait for the dead.
    within_patience("the threads to end", &world, |world| world.nodes[0].stop());
    within_patience("the device to go down", &world, |world| config::down(&world.nodes[0].device));
    within_patience("the peer to be removed", &world, |world| config::remove_peers(&world.nodes[0].device));
}

#[test]
fn a_panic_in_a_worker_ends_the_device_in_order() {
    let world = Arc::new(World::new(3));
    world.shake();
    let from = world.nodes[0].outer;
    world.internet.set_carrier(move |train, arrivals| {
        let in_worker = std::thread::current().name().is_some_and(|name| name.starts_with("worker"));
        assert!(train.from != from || !in_worker, "this panic belongs to the test");
        arrivals.push(train);
    });
    let flow = world.flow4(0);
    let packets: Vec<_> = (0..1_000).map(|n| flow.numbered(n, 1_000)).collect();
    // Until a worker is the one who sends.
    for _ in 0..100 {
        if !world.nodes[0].ends.entries().is_empty() {
            break;
        }
        world.nodes[0].tun().inject_all(packets.iter().map(Vec::as_slice));
        world.nodes[0].tun().wait_read(PATIENCE);
    }
    let ends = world.nodes[0].ends.wait("the end", |ends| !ends.is_empty()).clone();
    assert!(matches!(&ends[0], End::ThreadFailed(name) if name.starts_with("worker")), "{ends:?}");
    within_patience("the threads to end", &world, |world| world.nodes[0].stop());
    within_patience("the device to go down", &world, |world| config::down(&world.nodes[0].device));
}

#[test]
fn a_panic_in_a_handshake_ends_the_device_in_order() {
    let world = Arc::new(World::new(1));
    let armed = Arc::new(AtomicBool::new(true));
    world.internet.set_carrier(move |train, arrivals| {
        assert!(train.bytes[0] != 1 || !armed.swap(false, Ordering::Relaxed), "this panic belongs to the test");
        arrivals.push(train);
    });
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
    let ends = world.nodes[0].ends.wait("the end", |ends| !ends.is_empty()).clone();
    assert_eq!(ends, [End::ThreadFailed("handshakes".to_owned())]);
    within_patience("the threads to end", &world, |world| world.nodes[0].stop());
    within_patience("the device to go down", &world, |world| config::down(&world.nodes[0].device));
}

/// Runs `action` in a thread of its own; a failure if it does not return. That thread is then left behind.
fn within_patience(what: &str, world: &Arc<World>, action: impl FnOnce(&World) + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        action(&world);
        let _ = done.send(());
    });
    assert!(wait.recv_timeout(PATIENCE).is_ok(), "waited in vain for {what}");
}

/// Waits until node 0 has named the threads that hang; each call of `beat` that names none asks again.
fn wait_for_beat(world: &World, expected: &[&str]) {
    let is_so = || {
        std::thread::yield_now();
        world.nodes[0].beat() == expected
    };
    assert!((0..1_000_000).any(|_| is_so()), "never: {expected:?}");
}

#[test]
fn a_thread_that_hangs_with_a_packet_is_named_until_it_comes_round() {
    let world = World::new(2);
    world.shake();
    wait_for_beat(&world, &[]);
    let (held, released) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (carrier_held, carrier_released) = (Arc::clone(&held), Arc::clone(&released));
    let hangs = AtomicBool::new(true);
    world.internet.set_carrier(move |train, arrivals| {
        if hangs.swap(false, Ordering::Relaxed) {
            carrier_held.wait();
            carrier_released.wait();
        }
        arrivals.push(train);
    });
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
    held.wait();
    wait_for_beat(&world, &["packets"]);
    assert_eq!(world.nodes[0].beat(), ["packets"]);
    released.wait();
    assert_eq!(world.nodes[1].receive(1), [1]);
    wait_for_beat(&world, &[]);
}
