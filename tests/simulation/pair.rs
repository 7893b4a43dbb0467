//! Two devices, each the other's peer, stepped by one thread: time goes from event to event.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rvpn::dataplane::device::Device;
use rvpn::dataplane::io::{Clock, Ready};
use rvpn::dataplane::workers::{Inline, PacketWay};
use rvpn::platform::fake::{Capture, Conditions, FakeClock, Host, Internet, Link, Nat, Train};
use rvpn::proto::time::Instant;

use crate::config::{self, Keys};
use crate::packets::{Flow, numbers};
use crate::watch::Watch;

/// Two nodes and the network between them.
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    /// What leaves node `n` goes into `links[n]`.
    pub(crate) links: [Link; 2],
    /// In front of node 0.
    pub(crate) nat: Option<Nat>,
    pub(crate) watch: Watch,
    now: Instant,
    internet: Arc<Internet>,
    outbox: Arc<Mutex<Vec<Train>>>,
    next_number: u64,
    capture: Option<Capture<std::fs::File>>,
    attacker: Attacker,
    /// What is sent is said on standard error.
    pub(crate) trace: bool,
}

/// One device and the state its threads would have.
pub(crate) struct Node {
    pub(crate) device: Arc<Device>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) host: Arc<Host>,
    pub(crate) keys: Keys,
    pub(crate) outer: SocketAddr,
    way: PacketWay,
    inline: Inline,
    deadline: Option<Instant>,
    /// Suspended until then: does nothing, hears nothing, and its clock shows nothing of it.
    asleep_until: Option<Instant>,
    is_up: bool,
    endpoint: Option<SocketAddr>,
}

/// Someone who sees everything and can send anything, from an address of his own.
struct Attacker {
    rng: StdRng,
    /// What has reached node `n`: of no more worth than its forgeries.
    seen: [Vec<Train>; 2],
    last_initiation: [Option<Instant>; 2],
}

/// Where node 0 is seen from outside if it is behind a translating box.
pub(crate) const NAT_ADDRESS: &str = "203.0.113.1";
const ATTACKER: &str = "203.0.113.66:6666";
const OUTER: [&str; 2] = ["192.0.2.1:51820", "192.0.2.2:51820"];
const INNER: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

impl Pair {
    /// Makes two nodes that are up, over a perfect network. Behind a `nat`, only node 0 knows where the other is.
    pub(crate) fn new(seed: u64, nat: bool) -> Self {
        let internet = Internet::new();
        let outbox = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&outbox);
        internet.set_carrier(move |train, _| to.lock().expect("nobody panics here").push(train));
        let nodes = [0, 1].map(|n| Node::new(&internet, n, seed));
        for (n, node) in nodes.iter().enumerate() {
            let other = &nodes[1 - n];
            let endpoint = (n == 0 || !nat).then_some(other.outer);
            config::set_up(&node.device, &node.keys, node.outer.port());
            config::add_peer(&node.device, other.keys.public, endpoint, &[address(INNER[1 - n])]);
            config::up(&node.device);
        }
        let mut pair = Self {
            links: [0, 1].map(|n| Link::new(seed.wrapping_mul(2) + n, Conditions::default())),
            nat: nat.then(|| Nat::new(address(NAT_ADDRESS))),
            watch: Watch::default(),
            now: nodes[0].clock.now(),
            internet,
            outbox,
            next_number: 1,
            capture: std::env::var_os("RVPN_PCAP").map(|path| {
                Capture::new(std::fs::File::create(path).expect("the capture file can be made"))
                    .expect("it can be written")
            }),
            attacker: Attacker {
                rng: StdRng::seed_from_u64(!seed),
                seen: [Vec::new(), Vec::new()],
                last_initiation: [None; 2],
            },
            nodes,
            trace: false,
        };
        for n in [0, 1] {
            pair.nodes[n].endpoint = config::endpoint(&pair.nodes[n].device, 0);
        }
        pair
    }

    /// Returns the time on the clock of the world.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Sets the conditions of both directions.
    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.links.iter_mut().for_each(|link| link.set_conditions(conditions));
    }

    /// Has node `from` send a packet of `len` bytes payload; returns its number.
    pub(crate) fn send(&mut self, from: usize, len: usize) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let packet = Flow::new(INNER[from], INNER[1 - from]).numbered(number, len);
        self.inject(from, &packet);
        number
    }

    /// Has node `from` send `packet`.
    pub(crate) fn inject(&mut self, from: usize, packet: &[u8]) {
        self.nodes[from].host.tun().inject(packet);
        self.work();
    }

    /// Lets `time` pass.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(self.now.plus(time), |_| false);
    }

    /// Lets time pass until `done`, at most until `end`; tells whether it was done.
    pub(crate) fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        let mut steps = (self.now, 0);
        loop {
            self.work();
            if done(self) {
                return true;
            }
            let next = self.next_event().filter(|next| *next < end).unwrap_or(end);
            if next >= end && self.now >= end {
                return false;
            }
            steps = if steps.0 == self.now { (self.now, steps.1 + 1) } else { (self.now, 0) };
            assert!(steps.1 < 1_000, "time does not go on: a deadline that is due is never done");
            self.advance(next);
        }
    }

    /// Suspends node `n`.
    pub(crate) fn suspend(&mut self, n: usize, time: Duration) {
        self.nodes[n].asleep_until = Some(self.now.plus(time));
    }

    /// Tells whether a node is suspended.
    pub(crate) fn sleeps(&self) -> bool {
        self.nodes.iter().any(|node| node.asleep_until.is_some())
    }

    /// Takes node `n` down and brings it up again.
    pub(crate) fn restart(&mut self, n: usize) {
        config::down(&self.nodes[n].device);
        self.watch.went_down(n);
        config::up(&self.nodes[n].device);
        self.work();
    }

    /// Has the attacker try his luck with both nodes.
    pub(crate) fn attack(&mut self) {
        for n in [0, 1] {
            if self.nodes[n].asleep_until.is_some() {
                continue;
            }
            for forged in self.attacker.forge(n, self.nodes[n].outer) {
                self.internet.deliver(&forged);
            }
        }
        self.work();
    }

    fn next_event(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::next_delivery);
        let nodes = self.nodes.iter().filter_map(|node| node.asleep_until.or(node.deadline));
        links.chain(nodes).min().map(|next| next.max(self.now))
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        for node in &mut self.nodes {
            if node.asleep_until.is_some_and(|until| until <= self.now) {
                node.asleep_until = None;
            }
            if node.asleep_until.is_none() {
                node.clock.advance_to(self.now);
            }
        }
    }

    /// Does all that can be done now.
    fn work(&mut self) {
        loop {
            let mut any = false;
            let mut arrived = [Vec::new(), Vec::new()];
            for from in [0, 1] {
                while let Some(train) = self.links[from].poll(self.now) {
                    any = true;
                    arrived[1 - from].extend(self.deliver(1 - from, train));
                }
            }
            for n in [0, 1] {
                any |= self.step(n, &arrived[n]);
            }
            if !any {
                return;
            }
        }
    }

    /// Hands a train to node `to`; returns its sender if the node takes it.
    fn deliver(&mut self, to: usize, mut train: Train) -> Option<SocketAddr> {
        if to == 0
            && let Some(nat) = &self.nat
            && !nat.inbound(&mut train)
        {
            return None;
        }
        let node = &self.nodes[to];
        if node.asleep_until.is_some() || !node.is_up {
            return None;
        }
        self.watch.arrived(to, self.now, &train);
        self.internet.deliver(&train);
        self.attacker.saw(to, self.now, &train);
        Some(train.from)
    }

    /// Has node `n` do what it can; tells whether there was anything. `senders` are those it heard from.
    fn step(&mut self, n: usize, senders: &[SocketAddr]) -> bool {
        let node = &mut self.nodes[n];
        if node.asleep_until.is_some() {
            return false;
        }
        let ready = node.host.ready();
        let mut any = ready != Ready::default();
        if any {
            node.way.step(&node.device, ready).expect("the TUN is there");
        }
        // Timers that are due ask for handshakes, and these arm timers.
        node.inline.deadlines(&node.device);
        any |= node.inline.handshakes(&node.device);
        node.deadline = node.inline.deadlines(&node.device);
        self.watch.delivered(n, &numbers(&node.host.tun().take_written()));

        let endpoint = config::endpoint(&node.device, 0);
        if endpoint != node.endpoint {
            let known = endpoint.is_some_and(|endpoint| senders.contains(&endpoint));
            assert!(known, "[4] node {n} moved its peer to {endpoint:?}, having heard from {senders:?}");
            node.endpoint = endpoint;
        }
        let sent = std::mem::take(&mut *self.outbox.lock().expect("nobody panics here"));
        for mut train in sent {
            any = true;
            if train.to == address_of(ATTACKER) {
                panic!("[12] node {n} answered the attacker with {} bytes", train.bytes.len());
            }
            self.watch.sent(n, self.now, &train);
            if self.trace {
                let since = self.now.as_nanos() as f64 / 1e9;
                let kinds: Vec<_> = train.payloads().map(|message| (message[0], message.len())).collect();
                eprintln!("{since:.3} node {n} -> {} {kinds:?}", train.to);
            }
            if n == 0
                && let Some(nat) = &mut self.nat
            {
                nat.outbound(&mut train);
            }
            if let Some(capture) = &mut self.capture {
                capture.train(self.nodes[n].clock.wall(), &train).expect("the capture can be written");
            }
            self.links[n].send(self.now, &train);
        }
        any
    }
}

impl Node {
    fn new(internet: &Arc<Internet>, n: usize, seed: u64) -> Self {
        let outer = address_of(OUTER[n]);
        let clock = FakeClock::new();
        let host = Host::new(internet, &clock, &[outer.ip()], seed.wrapping_mul(7) + n as u64);
        let device = Device::new(host.platform());
        Self {
            way: PacketWay::new(&device),
            inline: Inline::new(&device),
            keys: Keys::of_node(n as u8),
            device,
            clock,
            host,
            outer,
            deadline: None,
            asleep_until: None,
            is_up: true,
            endpoint: None,
        }
    }
}

impl Attacker {
    /// Remembers what node `n` has consumed. An initiation that came right after another was refused as a flood, not
    /// consumed, so that it would be as good as new.
    fn saw(&mut self, n: usize, now: Instant, train: &Train) {
        if train.bytes[0] == 1
            && let Some(last) = self.last_initiation[n].replace(now)
            && now.since(last) < Duration::from_millis(100)
        {
            return;
        }
        if self.seen[n].len() == 64 {
            self.seen[n].remove(0);
        }
        self.seen[n].push(train.clone());
    }

    fn forge(&mut self, n: usize, to: SocketAddr) -> Vec<Train> {
        let from = address_of(ATTACKER);
        let mut garbage = vec![0; self.rng.random_range(0..300)];
        self.rng.fill(&mut garbage[..]);
        let mut forged = vec![Train::datagram(from, to, &garbage)];
        if !self.seen[n].is_empty() {
            let seen = self.seen[n][self.rng.random_range(0..self.seen[n].len())].clone();
            let mut changed = seen.bytes.clone();
            let bit = self.rng.random_range(0..changed.len() * 8);
            // The 16 bytes of an empty mac2 at the end are not checked without load, and carry no authority.
            changed[bit / 8] ^= 1 << (bit % 8);
            forged.push(Train::datagram(from, to, &seen.bytes));
            forged.push(Train::datagram(from, to, &changed));
        }
        forged
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address_of(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}
