use std::net::SocketAddr;

use super::*;
use crate::dataplane::io::{Families, Network};
use crate::dataplane::packet::Pool;
use crate::platform::fake::{FakeClock, Host};
use crate::proto::endpoint::Source;

struct World {
    internet: Arc<Internet>,
    hosts: [Arc<Host>; 2],
    sockets: [Arc<dyn Udp>; 2],
}

const TO: &str = "192.0.2.2:2";

fn world() -> World {
    let internet = Internet::new();
    let clock = FakeClock::new();
    let hosts = [["192.0.2.1", "2001:db8::1"], ["192.0.2.2", "2001:db8::2"]]
        .map(|addresses| Host::new(&internet, &clock, &addresses.map(|address| address.parse().unwrap()), 0));
    let sockets = [hosts[0].bind(1, 0).unwrap(), hosts[1].bind(2, 7).unwrap()];
    World { internet, hosts, sockets }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn transmit<'a>(to: &str, bytes: &'a [u8], segment_len: usize) -> Transmit<'a> {
    Transmit { to: Endpoint::configured(address(to)), ds: 0x89, bytes, segment_len }
}

/// Everything that waits at `socket`: bytes, segment length, sender, ECN.
fn received(socket: &dyn Udp) -> Vec<(Vec<u8>, usize, Endpoint, u8)> {
    let pool = Pool::new(16);
    let mut batch = UdpBatch::new();
    batch.refill(&pool);
    socket.receive(Families::BOTH, &mut batch).unwrap();
    let messages = batch.drain();
    messages.map(|m| (m.buffer[..m.len].to_vec(), m.segment_len, m.from, m.ecn)).collect()
}

fn errno((count, result): (usize, io::Result<()>)) -> (usize, Option<i32>) {
    (count, result.err().and_then(|error| error.raw_os_error()))
}

#[test]
fn a_datagram_arrives_with_its_sender_its_local_address_and_ecn() {
    let world = world();
    assert_eq!(errno(world.sockets[0].send(&[transmit("[2001:db8::2]:2", b"hello", 5)])), (1, None));
    let source = Source { address: address("[2001:db8::2]:2").ip(), interface: 2 };
    let from = Endpoint { remote: address("[2001:db8::1]:1"), source: Some(source) };
    assert_eq!(received(&*world.sockets[1]), [(b"hello".to_vec(), 5, from, 1)]);
    assert_eq!(world.hosts[1].sockets()[0].mark(), 7);
}

#[test]
fn trains_arrive_whole_split_or_merged_as_set() {
    for (merging, expected) in [
        (Merging::AsSent, vec![(b"aabbc".to_vec(), 2), (b"dd".to_vec(), 2), (b"ee".to_vec(), 2)]),
        (
            Merging::Off,
            [b"aa".to_vec(), b"bb".to_vec(), b"c".to_vec(), b"dd".to_vec(), b"ee".to_vec()]
                .map(|bytes| (bytes.clone(), bytes.len()))
                .to_vec(),
        ),
        (Merging::Greedy, vec![(b"aabbc".to_vec(), 2), (b"ddee".to_vec(), 2)]),
    ] {
        let world = world();
        world.hosts[1].set_merging(merging);
        let transmits = [transmit(TO, b"aabbc", 2), transmit(TO, b"dd", 2), transmit(TO, b"ee", 2)];
        assert_eq!(errno(world.sockets[0].send(&transmits)), (3, None));
        let got: Vec<_> = received(&*world.sockets[1]).into_iter().map(|(bytes, len, ..)| (bytes, len)).collect();
        assert_eq!(got, expected, "{merging:?}");
    }
}

#[test]
fn faults_hit_what_they_name_and_the_count_says_what_was_taken() {
    let world = world();
    let [host, _] = &world.hosts;
    let mut sourced = transmit(TO, b"xx", 2);
    sourced.to.source = Some(Source { address: address("192.0.2.1:1").ip(), interface: 9 });
    let all = [transmit(TO, b"xx", 2), sourced, transmit(TO, b"xxxx", 2)];
    assert_eq!(errno(world.sockets[0].send(&all)), (3, None));
    host.refuse_trains(Some(libc::EIO));
    assert_eq!(errno(world.sockets[0].send(&all)), (2, Some(libc::EIO)));
    host.refuse_sources(Some(libc::ENETUNREACH));
    assert_eq!(errno(world.sockets[0].send(&all)), (1, Some(libc::ENETUNREACH)));
    host.refuse_sends(Some(libc::EPERM));
    assert_eq!(errno(world.sockets[0].send(&all)), (0, Some(libc::EPERM)));
    host.refuse_sends(None);
    host.refuse_sources(None);
    host.refuse_trains(None);
    host.set_max_segments(1);
    assert_eq!(errno(world.sockets[0].send(&all)), (2, Some(libc::EINVAL)));
    assert_eq!(received(&*world.sockets[1]).len(), 3 + 2 + 1 + 2);
}

#[test]
fn a_source_that_is_no_longer_ours_is_an_error() {
    let world = world();
    let mut sourced = transmit(TO, b"x", 1);
    sourced.to.source = Some(Source { address: address("192.0.2.77:0").ip(), interface: 1 });
    assert_eq!(errno(world.sockets[0].send(&[sourced])), (0, Some(libc::EINVAL)));
    world.hosts[0].set_addresses(&[]);
    assert_eq!(errno(world.sockets[0].send(&[transmit(TO, b"x", 1)])), (0, Some(libc::ENETUNREACH)));
}

#[test]
fn the_carrier_decides_what_arrives() {
    let world = world();
    let mut count = 0;
    world.internet.set_carrier(move |train, arrivals| {
        count += 1;
        match count {
            1 => {}
            2 => arrivals.extend([train.clone(), train]),
            _ => arrivals.push(Train { from: address("203.0.113.5:99"), ..train }),
        }
    });
    for bytes in [b"1", b"2", b"3"] {
        assert_eq!(errno(world.sockets[0].send(&[transmit(TO, bytes, 1)])), (1, None));
    }
    world.internet.clear_carrier();
    assert_eq!(errno(world.sockets[0].send(&[transmit(TO, b"4", 1)])), (1, None));
    let got = received(&*world.sockets[1]);
    let bytes: Vec<_> = got.iter().map(|(bytes, ..)| bytes.as_slice()).collect();
    assert_eq!(bytes, [b"2", b"2", b"3", b"4"]);
    assert_eq!(got[2].2.remote, address("203.0.113.5:99"));
}

#[test]
fn a_full_receive_buffer_drops_and_counts() {
    let world = world();
    let bytes = vec![0; 60_000];
    for _ in 0..200 {
        assert_eq!(errno(world.sockets[0].send(&[transmit(TO, &bytes, 30_000)])), (1, None));
    }
    let kept = RECEIVE_BUFFER_LEN / 60_000;
    assert_eq!(world.hosts[1].sockets()[0].overflows(), (200 - kept) * 2);
    assert_eq!(received(&*world.sockets[1]).len(), 16);
}
