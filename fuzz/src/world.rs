//! Two devices, each the other's peer, stepped by one thread; everything they send lies before the caller, who is the
//! network between them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rvpn::dataplane::configure::{AllowedIpChange, Change, PeerChange};
use rvpn::dataplane::device::Device;
use rvpn::dataplane::handover::Resumption;
use rvpn::dataplane::io::{Clock, Ready};
use rvpn::dataplane::stats::Drop;
use rvpn::dataplane::workers::{Inline, PacketWay};
use rvpn::platform::fake::{FakeClock, Host, Internet, Train};
use rvpn::proto::allowedips::Prefix;
use rvpn::proto::handshake::Identity;
use rvpn::proto::keys::{PrivateKey, PublicKey};
use rvpn::proto::time::Instant;

/// Two devices and what they have sent.
pub(crate) struct World {
    pub(crate) nodes: [Node; 2],
    pub(crate) internet: Arc<Internet>,
    clock: Arc<FakeClock>,
    outbox: Arc<Mutex<Vec<Train>>>,
}

/// One device and the state that its threads would have.
pub(crate) struct Node {
    pub(crate) device: Arc<Device>,
    pub(crate) host: Arc<Host>,
    pub(crate) public_key: PublicKey,
    pub(crate) outer: SocketAddr,
    way: PacketWay,
    inline: Inline,
    deadline: Option<Instant>,
}

/// Inner addresses, by node and family.
pub(crate) const INNER: [[&str; 2]; 2] = [["10.0.0.1", "fd00::1"], ["10.0.0.2", "fd00::2"]];
const OUTER: [&str; 2] = ["192.0.2.1:51820", "192.0.2.2:51820"];

impl World {
    /// Two devices that are up and know each other.
    pub(crate) fn new() -> Self {
        let (internet, clock, outbox) = (Internet::new(), FakeClock::new(), Arc::<Mutex<Vec<_>>>::default());
        let to = Arc::clone(&outbox);
        internet.set_carrier(move |train, _| to.lock().unwrap_or_else(PoisonError::into_inner).push(train));
        let nodes = [0, 1].map(|n| Node::new(&internet, &clock, n));
        let world = Self { nodes, internet, clock, outbox };
        for n in [0, 1] {
            let key = PrivateKey::new(private_key(n)).expect("a key that is not zero");
            let change = Change { private_key: Some(Some(key)), listen_port: Some(51_820), ..Change::default() };
            world.nodes[n].device.apply(change).expect("the port is free");
            world.introduce(n);
            world.nodes[n].device.up().expect("the port is free");
        }
        world
    }

    /// Has another device go on for that of node `n`, with the same configuration and what `records` say: first of the
    /// device, then of peers. Tells whether they were taken; if not, there is no more use in this world.
    pub(crate) fn resume(&mut self, n: usize, records: &[&[u8]]) -> bool {
        let node = &mut self.nodes[n];
        node.device.down();
        node.device = Device::new(node.host.platform());
        (node.way, node.inline) = (PacketWay::new(&node.device), Inline::new(&node.device));
        let key = PrivateKey::new(private_key(n)).expect("a key that is not zero");
        let change = Change { private_key: Some(Some(key)), ..Change::default() };
        node.device.apply(change).expect("nothing is bound by it");
        self.introduce(n);
        let (device, peers) = records.split_first().expect("one of the device");
        Resumption::begin(&self.nodes[n].device, device).is_ok_and(|mut resumption| {
            peers.iter().all(|peer| resumption.peer(peer).is_ok()) && resumption.finish().is_ok()
        })
    }

    /// Tells node `n` all about the other, in place of what it knew.
    pub(crate) fn introduce(&self, n: usize) {
        let other = &self.nodes[1 - n];
        let prefix = |text: &&str| {
            let address: IpAddr = text.parse().expect("an address");
            let len = if address.is_ipv4() { 32 } else { 128 };
            AllowedIpChange::Add(Prefix::new(address, len).expect("a host of its family"))
        };
        let peer = PeerChange {
            endpoint: Some(other.outer),
            replace_allowed_ips: true,
            allowed_ips: INNER[1 - n].iter().map(prefix).collect(),
            ..PeerChange::new(other.public_key)
        };
        self.change(n, peer);
    }

    /// Changes a peer of node `n`.
    pub(crate) fn change(&self, n: usize, peer: PeerChange) {
        let change = Change { peers: vec![peer], ..Change::default() };
        self.nodes[n].device.apply(change).expect("nothing is bound by it");
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Goes on to the next deadline of either node, but not beyond `end`.
    pub(crate) fn advance_to_deadline(&self, end: Instant) {
        let next = self.nodes.iter().filter_map(|node| node.deadline).min();
        self.clock.advance_to(next.map_or(end, |next| next.min(end)));
    }

    /// Does all that can be done now; returns what was sent meanwhile.
    pub(crate) fn work(&mut self) -> Vec<Train> {
        let mut rounds = 0;
        // Both, whether or not the first had anything to do.
        while self.nodes.each_mut().map(Node::step) != [false; 2] {
            rounds += 1;
            assert!(rounds < 1_000, "work that nobody brings comes to no end");
        }
        std::mem::take(&mut *self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Node {
    fn new(internet: &Arc<Internet>, clock: &Arc<FakeClock>, n: usize) -> Self {
        let outer: SocketAddr = OUTER[n].parse().expect("an address and a port");
        let host = Host::new(internet, clock, &[outer.ip()], n as u64);
        let device = Device::new(host.platform());
        let key = PrivateKey::new(private_key(n)).expect("a key that is not zero");
        let public_key = *Identity::new(key).public_key();
        Self {
            way: PacketWay::new(&device),
            inline: Inline::new(&device),
            deadline: None,
            device,
            host,
            public_key,
            outer,
        }
    }

    /// What the device has dropped, and why.
    pub(crate) fn drops(&self) -> Vec<(Drop, u64)> {
        let stats = self.device.stats();
        Drop::ALL.iter().map(|reason| (*reason, stats.drops(*reason))).filter(|(_, count)| *count > 0).collect()
    }

    /// Does what is ready and due; tells whether there was anything.
    fn step(&mut self) -> bool {
        let ready = self.host.ready();
        let any = ready != Ready::default();
        if any {
            self.way.step(&self.device, ready).expect("the interface is there");
        }
        // Timers that are due ask for handshakes, and these arm timers.
        self.inline.deadlines(&self.device);
        let any = self.inline.handshakes(&self.device) || any;
        self.deadline = self.inline.deadlines(&self.device);
        any
    }
}

fn private_key(n: usize) -> [u8; 32] {
    [0x40 + n as u8; 32]
}
