//! Devices in virtual time: one hub and the spokes around it, stepped by one thread. Time goes from event to event.
//!
//! ```text
//!  node 0 ─[nat]─ links ─┐
//!  node 1 ─[nat]─ links ─┼─ node n, the hub
//!    ...                 │      path p: spoke p and the hub; side 0 is the spoke, side 1 the hub
//!  node n-1 ───── links ─┘
//! ```
//! A pair is a star with one spoke.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rvpn::dataplane::candidates::Candidate;
use rvpn::dataplane::configure::PeerChange;
use rvpn::dataplane::io::Clock;
use rvpn::platform::fake::{Capture, Conditions, Internet, Link, Nat, Train};
use rvpn::proto::candidates::Order;
use rvpn::proto::time::Instant;

use crate::attacker::{self, Attacker};
use crate::config::{self, Keys};
use crate::node::Node;
use crate::packets::Flow;
use crate::watch::Watch;

/// The nodes and the network between them.
pub(crate) struct World {
    /// The spokes, then the hub.
    pub(crate) nodes: Vec<Node>,
    pub(crate) paths: Vec<Path>,
    now: Instant,
    internet: Arc<Internet>,
    outbox: Arc<Mutex<Vec<Train>>>,
    next_number: u64,
    capture: Option<Capture<std::fs::File>>,
    attacker: Attacker,
    /// What is sent is said on standard error.
    pub(crate) trace: bool,
}

/// What is between a spoke and the hub.
pub(crate) struct Path {
    /// What leaves side `s` goes into `links[s]`.
    pub(crate) links: [Link; 2],
    /// In front of the spoke.
    pub(crate) nat: Option<Nat>,
    pub(crate) watch: Watch,
    /// Where the spoke looks for the hub, if it has several places to look at. At those that are not the hub's is nobody.
    candidates: Option<(Vec<SocketAddr>, Order)>,
    /// Whether each side has the other as its peer.
    known: [bool; 2],
}

impl World {
    /// Makes two nodes that are up, over a perfect network. Behind a `nat`, only node 0 knows where the other is.
    pub(crate) fn pair(seed: u64, nat: bool) -> Self {
        Self::star(seed, 1, |_| nat)
    }

    /// Makes a hub with so many spokes, all up, over a perfect network. `nat` says which are behind a box.
    pub(crate) fn star(seed: u64, spokes: usize, nat: impl Fn(usize) -> bool) -> Self {
        let internet = Internet::new();
        let outbox = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&outbox);
        internet.set_carrier(move |train, _| to.lock().expect("nobody panics here").push(train));
        let nodes: Vec<_> = (0..=spokes)
            .map(|n| {
                let keys = Keys::of_node(n as u8);
                Node::new(&internet, keys, outer(n), seed.wrapping_mul(7).wrapping_add(n as u64))
            })
            .collect();
        let link = |n| Link::new(seed.wrapping_mul(2).wrapping_add(n), Conditions::default());
        let path = |p: usize| Path {
            links: [link(2 * p as u64), link(2 * p as u64 + 1)],
            nat: nat(p).then(|| Nat::new(nat_address(p))),
            watch: Watch::default(),
            candidates: None,
            known: [false; 2],
        };
        let mut world = Self {
            paths: (0..spokes).map(path).collect(),
            now: nodes[0].clock.now(),
            internet,
            outbox,
            next_number: 1,
            capture: std::env::var_os("RVPN_PCAP").map(|path| {
                Capture::new(std::fs::File::create(path).expect("the capture file can be made"))
                    .expect("it can be written")
            }),
            attacker: Attacker::new(seed, nodes.len()),
            nodes,
            trace: false,
        };
        for node in &mut world.nodes {
            config::set_up(&node.device, &node.keys, node.outer.port());
            config::up(&node.device);
            node.is_up = true;
        }
        for p in 0..spokes {
            world.introduce(p, 0);
            world.introduce(p, 1);
        }
        world
    }

    /// Returns the time on the clock of the world.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Returns the number of the node on a side of path `p`.
    pub(crate) fn node_of(&self, p: usize, side: usize) -> usize {
        if side == 0 { p } else { self.nodes.len() - 1 }
    }

    /// Sets the conditions of both directions of all paths.
    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.paths.iter_mut().flat_map(|path| &mut path.links).for_each(|link| link.set_conditions(conditions));
    }

    /// Has a side of the first path send a packet of `len` bytes payload; returns its number.
    pub(crate) fn send(&mut self, from: usize, len: usize) -> u64 {
        self.send_on(0, from, len)
    }

    /// Has a side of path `p` send a packet of `len` bytes payload; returns its number.
    pub(crate) fn send_on(&mut self, p: usize, from: usize, len: usize) -> u64 {
        let number = (p as u64) << PATH_SHIFT | self.next_number;
        self.next_number += 1;
        let (spoke, hub) = (inner(p), inner(self.paths.len()));
        let flow =
            if from == 0 { Flow { src: spoke, dst: hub, ..flow() } } else { Flow { src: hub, dst: spoke, ..flow() } };
        self.inject(self.node_of(p, from), &flow.numbered(number, len));
        number
    }

    /// Has node `from` send `packet`.
    pub(crate) fn inject(&mut self, from: usize, packet: &[u8]) {
        self.nodes[from].host.tun().inject(packet);
        self.work();
    }

    /// Tells whether the packet `number` was delivered.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.paths[(number >> PATH_SHIFT) as usize].watch.has(number)
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
            assert!(steps.1 < 10_000, "time does not go on: a deadline that is due is never done");
            self.advance(next);
        }
    }

    /// Tells whether a node is suspended.
    pub(crate) fn sleeps(&self) -> bool {
        self.nodes.iter().any(Node::sleeps)
    }

    /// Suspends node `n`.
    pub(crate) fn suspend(&mut self, n: usize, time: Duration) {
        let until = self.now.plus(time);
        self.nodes[n].suspend(until);
    }

    /// Has the clocks of node `n` jump ahead by `time`.
    pub(crate) fn jump(&mut self, n: usize, time: Duration) {
        self.nodes[n].jump(time);
        self.poke(n);
    }

    /// Takes node `n` down: from now on it is silent.
    pub(crate) fn take_down(&mut self, n: usize) {
        config::down(&self.nodes[n].device);
        self.nodes[n].is_up = false;
        self.of_node(n).for_each(|(path, side)| path.watch.falls_silent(side));
        self.poke(n);
    }

    /// Brings node `n` up again.
    pub(crate) fn bring_up(&mut self, n: usize) {
        self.nodes[n].is_up = true;
        self.of_node(n).filter(|(path, side)| path.known[*side]).for_each(|(path, side)| path.watch.may_speak(side));
        config::up(&self.nodes[n].device);
        self.poke(n);
    }

    /// Has a side of path `p` remove its peer: from now on it is silent there.
    pub(crate) fn part(&mut self, p: usize, side: usize) {
        let (n, peer) = (self.node_of(p, side), self.nodes[self.node_of(p, 1 - side)].keys.public);
        config::apply_peer(&self.nodes[n].device, PeerChange { remove: true, ..PeerChange::new(peer) });
        let path = &mut self.paths[p];
        path.known[side] = false;
        path.watch.falls_silent(side);
        self.nodes[n].note_endpoints();
        // Its greatest timestamp went with the peer, so what was consumed is as good as new.
        self.attacker.forget(n);
        self.poke(n);
    }

    /// Has a side of path `p` add its peer.
    pub(crate) fn introduce(&mut self, p: usize, side: usize) {
        let (node, other) = (&self.nodes[self.node_of(p, side)], &self.nodes[self.node_of(p, 1 - side)]);
        let path = &mut self.paths[p];
        let endpoint = (side == 0 || path.nat.is_none()).then_some(other.outer);
        let allowed = if side == 0 { inner(self.nodes.len() - 1) } else { inner(p) };
        path.known[side] = true;
        if node.is_up {
            path.watch.may_speak(side);
        }
        match path.candidates.as_ref().filter(|_| side == 0) {
            None => config::add_peer(&node.device, other.keys.public, endpoint, &[allowed]),
            Some((addresses, order)) => {
                config::add_peer(&node.device, other.keys.public, None, &[allowed]);
                let candidates = Some(addresses.iter().copied().map(Candidate::Address).collect());
                let change = PeerChange { candidates, order: Some(*order), ..PeerChange::new(other.keys.public) };
                config::apply_peer(&node.device, change);
            }
        }
        let n = self.node_of(p, side);
        self.nodes[n].note_endpoints();
        self.poke(n);
    }

    /// Has the spoke of path `p` look for the hub at `before` addresses where nobody is, where the hub is, and at `after` more
    /// where nobody is.
    pub(crate) fn offer_candidates(&mut self, p: usize, before: usize, after: usize, order: Order) {
        let hub = self.nodes.len() - 1;
        let nobody = |n: usize| SocketAddr::from(([203, 0, 113, n as u8], 51_820));
        let (first, last) = ((0..before).map(nobody), (before..before + after).map(nobody));
        self.paths[p].candidates = Some((first.chain([outer(hub)]).chain(last).collect(), order));
        // The endpoint is the first of them only for a peer that has none.
        self.part(p, 0);
        self.introduce(p, 0);
    }

    /// Has the attacker try his luck with all nodes, which must not change for it.
    pub(crate) fn attack(&mut self) {
        self.work();
        for n in 0..self.nodes.len() {
            if self.nodes[n].sleeps() {
                continue;
            }
            let before = self.nodes[n].fingerprint();
            for forged in self.attacker.forge(n, self.nodes[n].outer) {
                self.internet.deliver(&forged);
            }
            self.work();
            let after = self.nodes[n].fingerprint();
            assert_eq!(before, after, "[3] node {n} was changed by what is not authentic");
        }
    }

    /// Returns the paths of node `n`, and its side of each.
    fn of_node(&mut self, n: usize) -> impl Iterator<Item = (&mut Path, usize)> {
        let hub = self.nodes.len() - 1;
        let is_hub = n == hub;
        self.paths
            .iter_mut()
            .enumerate()
            .filter(move |(p, _)| is_hub || *p == n)
            .map(move |(_, path)| (path, usize::from(is_hub)))
    }

    /// Sets the interval at which the spoke of path `p` keeps it alive; 0 is off.
    pub(crate) fn keep_alive(&mut self, p: usize, secs: u16) {
        let hub = self.nodes[self.node_of(p, 1)].keys.public;
        config::set_keepalive(&self.nodes[p].device, hub, secs);
        self.poke(p);
    }

    /// Node `n` was configured: lets it do what follows.
    fn poke(&mut self, n: usize) {
        self.nodes[n].is_poked = true;
        self.work();
    }

    fn next_event(&self) -> Option<Instant> {
        let links = self.paths.iter().flat_map(|path| &path.links).filter_map(Link::next_delivery);
        let nodes = self.nodes.iter().filter_map(Node::next_event);
        links.chain(nodes).min().map(|next| next.max(self.now))
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        self.nodes.iter_mut().for_each(|node| node.advance(self.now));
    }

    /// Does all that can be done now.
    fn work(&mut self) {
        loop {
            let mut any = false;
            let mut senders = vec![Vec::new(); self.nodes.len()];
            for p in 0..self.paths.len() {
                for from in [0, 1] {
                    while let Some(train) = self.paths[p].links[from].poll(self.now) {
                        any = true;
                        let to = self.node_of(p, 1 - from);
                        senders[to].extend(self.deliver(p, 1 - from, train));
                    }
                }
            }
            for (n, senders) in senders.iter().enumerate() {
                if !senders.is_empty() || self.nodes[n].is_due(self.now) {
                    any |= self.step(n, senders);
                }
            }
            any |= self.carry_off();
            if !any {
                return;
            }
        }
    }

    /// Hands a train to a side of path `p`; returns its sender if the node takes it.
    fn deliver(&mut self, p: usize, side: usize, mut train: Train) -> Option<SocketAddr> {
        let to = self.node_of(p, side);
        let path = &mut self.paths[p];
        if side == 0
            && let Some(nat) = &path.nat
            && !nat.inbound(&mut train)
        {
            return None;
        }
        let node = &self.nodes[to];
        if node.sleeps() || !node.is_up {
            return None;
        }
        self.internet.deliver(&train);
        if path.known[side] {
            path.watch.arrived(side, node.now(), &train);
            self.attacker.saw(to, self.now, &train);
        }
        Some(train.from)
    }

    /// Has node `n` do what it can; tells whether there was anything.
    fn step(&mut self, n: usize, senders: &[SocketAddr]) -> bool {
        let (any, delivered) = self.nodes[n].step(senders);
        for number in delivered {
            let (p, side) = ((number >> PATH_SHIFT) as usize, usize::from(n == self.nodes.len() - 1));
            assert!(side == 1 || p == n, "packet {number:x} came out of node {n}");
            self.paths[p].watch.delivered(side, number);
        }
        self.carry_off_from(n) || any
    }

    /// Puts what was sent by configuration, outside of a node's step, on its way.
    fn carry_off(&mut self) -> bool {
        let sender = |nodes: &[Node], train: &Train| nodes.iter().position(|node| node.outer.ip() == train.from.ip());
        let first = self.outbox.lock().expect("nobody panics here").first().cloned();
        let Some(n) = first.and_then(|train| sender(&self.nodes, &train)) else { return false };
        self.carry_off_from(n)
    }

    fn carry_off_from(&mut self, n: usize) -> bool {
        let sent = std::mem::take(&mut *self.outbox.lock().expect("nobody panics here"));
        let any = !sent.is_empty();
        for mut train in sent {
            assert_ne!(train.to, address_of(attacker::ADDRESS), "[12] node {n} answered {} bytes", train.bytes.len());
            let hub = self.nodes.len() - 1;
            let (p, side) = if n == hub { (self.path_to(train.to.ip()), 1) } else { (n, 0) };
            self.paths[p].watch.sent(side, self.now, self.nodes[n].now(), &train);
            self.say(n, &train);
            if n != hub && train.to != self.nodes[hub].outer {
                continue;
            }
            let path = &mut self.paths[p];
            if side == 0
                && let Some(nat) = &mut path.nat
            {
                nat.outbound(&mut train);
            }
            path.links[side].send(self.now, &train);
            if let Some(capture) = &mut self.capture {
                capture.train(self.nodes[n].clock.wall(), &train).expect("the capture can be written");
            }
        }
        any
    }

    fn path_to(&self, address: IpAddr) -> usize {
        let leads = |p: &usize| outer(*p).ip() == address || nat_address(*p) == address;
        (0..self.paths.len()).find(leads).expect("nodes send to where their peers are")
    }

    #[expect(clippy::print_stderr, reason = "asked for by whoever looks into a failing seed")]
    fn say(&self, n: usize, train: &Train) {
        if self.trace {
            let kinds: Vec<_> = train.payloads().map(|message| (message[0], message.len())).collect();
            eprintln!("{:.3} node {n} -> {} {kinds:?}", self.now.as_nanos() as f64 / 1e9, train.to);
        }
    }
}

/// A packet's number begins with its path.
const PATH_SHIFT: u32 = 48;

fn flow() -> Flow {
    Flow::new("10.0.0.0", "10.0.0.0")
}

/// Inner address of node `n`.
pub(crate) fn inner(n: usize) -> IpAddr {
    [10, 0, 0, 1 + n as u8].into()
}

/// Outer address and port of node `n`.
fn outer(n: usize) -> SocketAddr {
    ([192, 0, 2, 1 + n as u8], 51_820).into()
}

/// Where spoke `p` is seen from outside if it is behind a translating box.
fn nat_address(p: usize) -> IpAddr {
    [198, 51, 100, 1 + p as u8].into()
}

fn address_of(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}
