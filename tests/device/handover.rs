//! A device that another one goes on for, as another process would: with its TUN, its sockets and what it knew.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rvpn::dataplane::configure::{AllowedIpChange, ApplyError, Change, PeerChange};
use rvpn::dataplane::device::Device;
use rvpn::dataplane::handover::{Held, Resumption};
use rvpn::dataplane::io::{Network, Platform, Udp};
use rvpn::dataplane::workers::{Share, Workers};
use rvpn::platform::fake::{Host, PATIENCE, Train};
use rvpn::proto::endpoint::Source;

use crate::config;
use crate::world::{Node, World};

/// The sockets that are there already.
struct Given(Arc<Host>);

impl Network for Given {
    fn bind(&self, port: u16, mark: u32) -> io::Result<Arc<dyn Udp>> {
        let given = self.0.sockets().into_iter().find(|socket| socket.port() == port);
        given.map_or_else(|| self.0.bind(port, mark), |socket| Ok(socket))
    }

    fn source_towards(&self, remote: SocketAddr, mark: u32) -> Option<Source> {
        self.0.source_towards(remote, mark)
    }
}

fn records(held: &Held<'_>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    held.export(|record| {
        records.push(record.to_vec());
        Ok::<_, ()>(())
    })
    .expect("a vector takes all");
    records
}

/// Makes a device of the same configuration, which is down.
fn twin(node: &Node) -> Arc<Device> {
    let network = Arc::new(Given(Arc::clone(&node.host)));
    let device = Device::new(Platform { network, ..node.host.platform() });
    let snapshot = node.device.snapshot();
    let peers = snapshot.peers.into_iter().map(|peer| PeerChange {
        persistent_keepalive: Some(peer.status.persistent_keepalive),
        allowed_ips: peer.allowed_ips.into_iter().map(AllowedIpChange::Add).collect(),
        ..PeerChange::new(peer.public_key)
    });
    let private_key = Some(snapshot.private_key);
    config::apply(&device, Change { private_key, peers: peers.collect(), ..Change::default() });
    device
}

/// Lets another device go on for node `n`, after `meanwhile`, while which nothing moves.
fn hand_over(world: &mut World, n: usize, meanwhile: impl FnOnce(&World)) {
    let next = twin(&world.nodes[n]);
    let before = world.nodes[n].take_threads();
    let holder = before.holder();
    let held = holder.hold(PATIENCE).expect("nothing hangs");
    let records = records(&held);
    meanwhile(world);
    let workers = Workers { count: 3, share: Share::UnderBacklog };
    let ends = Arc::clone(&world.nodes[n].ends);
    let threads = next.start_held(workers, move |end| ends.push(end)).expect("threads start");
    let mut resumption = Resumption::begin(&next, &records[0]).expect("the device's");
    records[1..].iter().for_each(|record| resumption.peer(record).expect("a peer's"));
    let resumed = resumption.finish().expect("none is missing");
    held.retire();
    resumed.go_on(&threads);
    before.stop();
    assert!(world.nodes[n].device.objects().is_balanced(), "{}", world.nodes[n].device.objects());
    world.nodes[n].device = next;
    world.nodes[n].put_threads(threads);
}

fn is_handshake(train: &Train) -> bool {
    matches!(train.bytes[0], 1 | 2)
}

#[test]
fn nothing_is_lost_and_no_handshake_is_made() {
    let mut world = World::new(3);
    world.shake();
    let log = world.record();
    let mut before = (0, 0);
    for round in 0..6 {
        let n = round % 2;
        hand_over(&mut world, n, |world| {
            // Both ways, while one end stands.
            for from in [0, 1] {
                let flow = world.flow4(from);
                let packets: Vec<_> = (0..100).map(|number| flow.numbered(number, 300)).collect();
                world.nodes[from].tun().inject_all(packets.iter().map(Vec::as_slice));
            }
            let received = world.nodes[n].tun().take_written();
            assert!(received.is_empty(), "a held device delivered {} packets", received.len());
        });
        for to in [0, 1] {
            assert_eq!(world.nodes[to].receive(100), (0..100).collect::<Vec<_>>(), "round {round}, node {to}");
        }
        // A batch is counted after its last packet was handed on.
        let counted = || {
            let status = config::peer_status(&world.nodes[0].device, 0);
            (status.rx_bytes, status.tx_bytes)
        };
        let go_on = |now: (u64, u64)| now.0 > before.0 && now.1 > before.1;
        let after = (0..1_000_000).map(|_| counted()).find(|now| go_on(*now));
        before = after.expect("counters go on");
    }
    assert!(!log.entries().iter().any(is_handshake), "a handshake was made");
    world.ping(0, 7);
    world.ping(1, 8);
}

#[test]
fn what_waits_for_a_key_is_sent_by_the_next() {
    let mut world = World::new(1);
    let lost = world.hold();
    world.nodes[0].tun().inject(&world.flow4(0).echo(false, 5));
    drop(lost.wait("an initiation", |trains| trains.iter().any(is_handshake)));
    world.record();
    hand_over(&mut world, 0, |_| {});
    assert_eq!(world.nodes[1].receive(1), [5]);
}

#[test]
fn a_device_that_was_held_goes_on_as_if_nothing_had_been() {
    let world = World::new(3);
    world.shake();
    let log = world.record();
    for far_ahead in [false, true, false] {
        let threads = world.nodes[0].take_threads();
        {
            let holder = threads.holder();
            let held = holder.hold(PATIENCE).expect("nothing hangs");
            assert_eq!(records(&held).len(), 2);
            world.nodes[0].tun().inject(&world.flow4(0).echo(false, 1));
            if far_ahead {
                held.release_far_ahead();
            }
        }
        world.nodes[0].put_threads(threads);
        assert_eq!(world.nodes[1].receive(1), [1]);
        world.ping(1, 2);
        world.ping(0, 3);
    }
    assert!(!log.entries().iter().any(is_handshake));
    config::set_keepalive(&world.nodes[0].device, world.nodes[1].keys.public, 25);
    assert_eq!(world.nodes[0].beat(), [""; 0]);
}

#[test]
fn a_device_that_was_given_away_does_nothing_any_more() {
    let mut world = World::new(1);
    world.shake();
    let before = Arc::clone(&world.nodes[0].device);
    hand_over(&mut world, 0, |_| {});
    let log = world.record();
    before.up().expect("it says nothing");
    let refused = before.apply(Change { listen_port: Some(7), ..Change::default() });
    assert!(matches!(refused, Err(ApplyError::Retired)));
    assert!(before.snapshot().peers[0].status.last_handshake.is_some(), "it can still tell what it knew");
    world.clock.advance(Duration::from_secs(1));
    assert!(log.entries().is_empty());
    world.ping(0, 1);
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let world = World::new(1);
    world.shake();
    let threads = world.nodes[0].take_threads();
    let holder = threads.holder();
    let held = holder.hold(PATIENCE).expect("nothing hangs");
    let mut all = records(&held);
    drop(held);
    world.nodes[0].put_threads(threads);
    let (peer, device) = (all.pop().expect("a peer's"), all.pop().expect("the device's"));

    let resume = |device: &[u8], peers: &[&[u8]]| {
        let next = twin(&world.nodes[0]);
        let mut resumption = Resumption::begin(&next, device).ok()?;
        peers.iter().try_for_each(|peer| resumption.peer(peer)).ok()?;
        resumption.finish().ok().map(drop)
    };
    assert!(resume(&device, &[&peer]).is_some());
    assert!(resume(&device, &[]).is_none(), "a peer is missing");
    assert!(resume(&device, &[&peer, &peer]).is_none(), "a peer comes twice");
    for record in [&device, &peer] {
        for len in 0..record.len() {
            let (device, peer) =
                if record == &device { (&record[..len], &peer[..]) } else { (&device[..], &record[..len]) };
            assert!(resume(device, &[peer]).is_none(), "a record of {len} bytes");
        }
    }
    let mut foreign = peer.clone();
    foreign[0] ^= 1;
    assert!(resume(&device, &[&foreign]).is_none(), "a peer nobody knows");
}
