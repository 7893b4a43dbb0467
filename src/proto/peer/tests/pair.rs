//! Two peers with what a device is to them, one clock, a wire, and a record of what was sent.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::proto::carried::{Reader, Writer};
use crate::proto::handshake::{HandshakeError, StaticSecrets, consume_initiation, create_initiation};
use crate::proto::index::IndexTable;
use crate::proto::messages::INITIATION_LEN;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    A,
    B,
}
pub(super) use Side::{A, B};

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            A => B,
            B => A,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initiation,
    Response,
    Keepalive,
    Data,
}
pub(super) use Kind::{Data, Initiation, Keepalive, Response};

#[derive(Clone)]
pub(super) enum Datagram {
    Initiation([u8; INITIATION_LEN]),
    Response([u8; RESPONSE_LEN]),
    Transport { receiver: Index, counter: u64, data: bool },
}

impl Datagram {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Initiation(_) => Initiation,
            Self::Response(_) => Response,
            Self::Transport { data: true, .. } => Data,
            Self::Transport { .. } => Keepalive,
        }
    }
}

pub(super) enum Entry {
    Handshake,
    Keypair(Arc<Keypair>),
}

/// What a device is to its only peer.
pub(super) struct Node {
    pub(super) identity: Identity,
    pub(super) secrets: Arc<dyn StaticSecrets>,
    pub(super) peer: Peer,
    pub(super) rng: StdRng,
    pub(super) indices: IndexTable<Entry>,
    /// Staged packets: true is data, false the empty packet of a keepalive.
    pub(super) staged: VecDeque<bool>,
    pub(super) purged: usize,
    pub(super) delivered: usize,
    pub(super) completed: usize,
    pub(super) connected: usize,
    pub(super) gave_up: Vec<Duration>,
}

struct Secrets(HashMap<PublicKey, SharedSecret>);

impl StaticSecrets for Secrets {
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError> {
        self.0.get(peer).cloned().ok_or(HandshakeError::UnknownPeer(*peer))
    }
}

impl Node {
    pub(super) fn new(own: u8, other: u8, seed: u64) -> Self {
        let identity = identity(own);
        let other_key = *self::identity(other).public_key();
        let secret = identity.static_static(&other_key).unwrap();
        let secrets = Arc::new(Secrets(HashMap::from([(other_key, secret.clone())])));
        let mut peer = Peer::new(other_key, Some(secret));
        peer.set_endpoint(address(other));
        Self {
            identity,
            secrets,
            peer,
            rng: StdRng::seed_from_u64(seed),
            indices: IndexTable::new(),
            staged: VecDeque::new(),
            purged: 0,
            delivered: 0,
            completed: 0,
            connected: 0,
            gave_up: Vec::new(),
        }
    }
}

/// Two peers, one clock, a wire without delay unless told otherwise, and a record of what was sent.
pub(super) struct Pair {
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) now: Instant,
    pub(super) delay: Duration,
    /// What a side sends is lost.
    pub(super) cut: [bool; 2],
    pub(super) wire: VecDeque<(Instant, Side, Datagram)>,
    pub(super) trace: Vec<(Duration, Side, Kind)>,
    /// Side, index of the sender and counter of every transport packet sent.
    pub(super) sealed: Vec<(Side, Index, u64)>,
    /// Side, index of the receiver and counter of every transport packet accepted.
    pub(super) opened: Vec<(Side, Index, u64)>,
}

impl Pair {
    /// Makes two peers that know each other and are up.
    pub(super) fn new() -> Self {
        Self::seeded(0)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        let mut pair = Self {
            a: Node::new(1, 2, 2 * seed),
            b: Node::new(2, 1, 2 * seed + 1),
            now: start(),
            delay: Duration::ZERO,
            cut: [false; 2],
            wire: VecDeque::new(),
            trace: Vec::new(),
            sealed: Vec::new(),
            opened: Vec::new(),
        };
        for side in [A, B] {
            pair.node(side).peer.up(start());
            pair.drain(side);
        }
        pair
    }

    /// Makes two peers with a session that A initiated at the start, confirmed by a keepalive; timers are quiet.
    pub(super) fn with_session() -> Self {
        let mut pair = Self::new();
        pair.peer_asks_for_keepalive(A);
        pair.run_until(Duration::ZERO);
        assert_eq!(
            pair.trace,
            [(Duration::ZERO, A, Initiation), (Duration::ZERO, B, Response), (Duration::ZERO, A, Keepalive)]
        );
        pair.trace.clear();
        pair
    }

    pub(super) fn node(&mut self, side: Side) -> &mut Node {
        match side {
            A => &mut self.a,
            B => &mut self.b,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.since(start())
    }

    pub(super) fn peer_asks_for_keepalive(&mut self, side: Side) {
        self.node(side).peer.outputs.keepalive = true;
        self.drain(side);
    }

    /// `side` has a packet for the other.
    pub(super) fn send(&mut self, side: Side) {
        self.node(side).staged.push_back(true);
        self.flush(side);
        self.drain(side);
    }

    /// `side` sends a packet every `interval` from now until `end`.
    pub(super) fn send_every(&mut self, side: Side, interval: Duration, end: Duration) {
        let mut next = self.elapsed();
        while next <= end {
            self.run_until(next);
            self.send(side);
            next += interval;
        }
        self.run_until(end);
    }

    /// Lets time pass until `end` after the start: timers at their exact deadlines, datagrams when they arrive.
    pub(super) fn run_until(&mut self, end: Duration) {
        let end = at(end);
        loop {
            let timers = [A, B].map(|side| self.node(side).peer.poll_timeout());
            let arrival = self.wire.iter().map(|(due, ..)| *due).min();
            let Some(due) = timers.into_iter().flatten().chain(arrival).min().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            if arrival.is_some_and(|arrival| arrival <= self.now) {
                self.deliver_first();
                continue;
            }
            for side in [A, B] {
                let now = self.now;
                let node = self.node(side);
                node.peer.handle_timeout(now, &mut node.rng);
                self.drain(side);
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets another process go on for `side`: with its configuration, and with what the peer wrote.
    pub(super) fn hand_over(&mut self, side: Side) {
        let now = self.now;
        let node = self.node(side);
        let mut out = Writer::new(Peer::MAX_CARRIED_LEN);
        node.peer.write(false, &mut out);
        let mut input = Reader::new(out.written().unwrap());
        let mut carried = CarriedPeer::read(now, &mut input).unwrap();
        input.end().unwrap();

        let mut peer = Peer::new(*node.peer.public_key(), node.peer.static_static().cloned());
        peer.set_preshared_key(node.peer.preshared_key().clone());
        peer.set_persistent_keepalive(now, node.peer.status().persistent_keepalive);
        node.indices = IndexTable::new();
        for index in carried.indices() {
            assert!(node.indices.insert_at(index, Entry::Handshake));
        }
        peer.resume(carried, node.peer.is_up);
        node.peer = peer;
        self.drain(side);
        self.flush(side);
    }

    /// Puts a second copy of a datagram on the wire, if there are that many.
    pub(super) fn duplicate_on_the_wire(&mut self, place: usize) {
        if let Some((due, to, datagram)) = self.wire.get(place).cloned() {
            self.wire.push_back((due.plus(millis(7)), to, datagram));
        }
    }

    pub(super) fn deliver_first(&mut self) {
        let first = self.wire.iter().enumerate().min_by_key(|(_, (due, ..))| *due).map(|(place, _)| place);
        let (_, to, datagram) = self.wire.remove(first.unwrap()).unwrap();
        self.receive(to, datagram);
    }

    pub(super) fn put(&mut self, from: Side, datagram: Datagram) {
        self.trace.push((self.elapsed(), from, datagram.kind()));
        if !self.cut[from as usize] {
            self.wire.push_back((self.now.plus(self.delay), from.other(), datagram));
        }
    }

    pub(super) fn drain(&mut self, side: Side) {
        while let Some(output) = self.node(side).peer.poll_output() {
            let elapsed = self.elapsed();
            let node = self.node(side);
            match output {
                Output::Initiate => self.initiate(side),
                Output::Keepalive => {
                    if node.staged.is_empty() {
                        node.staged.push_back(false);
                    }
                    self.flush(side);
                }
                Output::Flush => self.flush(side),
                Output::PurgeStaged => node.purged += node.staged.drain(..).count(),
                Output::Publish(keypair) => {
                    let index = keypair.local;
                    assert!(node.indices.replace(index, Entry::Keypair(keypair)));
                }
                Output::Release(index) => assert!(node.indices.remove(index).is_some()),
                Output::HandshakeComplete => node.completed += 1,
                Output::Connected => node.connected += 1,
                Output::Silent | Output::Roamed(_) => {}
                Output::HandshakeGaveUp => node.gave_up.push(elapsed),
                Output::LookUp => {}
                Output::SendInitiation(_, message) => self.put(side, Datagram::Initiation(*message)),
            }
            assert!(self.node(side).indices.len() <= 4);
        }
    }

    pub(super) fn flush(&mut self, side: Side) {
        let now = self.now;
        let node = self.node(side);
        let count = node.staged.len();
        if count == 0 {
            return;
        }
        let Some(grant) = node.peer.reserve(now, count as u64) else { return };
        let packets = std::mem::take(&mut node.staged);
        let bytes = packets.iter().map(|data| if *data { DATA_LEN } else { KEEPALIVE_LEN as u64 }).sum();
        let sent = Sent { bytes, packets: packets.len() as u64, data: packets.contains(&true) };
        for (counter, data) in (grant.first_counter..).zip(packets) {
            self.sealed.push((side, grant.keypair.local, counter));
            self.put(side, Datagram::Transport { receiver: grant.keypair.remote, counter, data });
        }
        let node = self.node(side);
        node.peer.on_sent(now, &mut node.rng, sent);
    }

    pub(super) fn initiate(&mut self, side: Side) {
        let now = self.now;
        let node = self.node(side);
        let Some(plan) = node.peer.begin_initiation(now, wall_at(now)) else { return };
        let index = node.indices.insert(Entry::Handshake, &mut node.rng);
        let (pending, mut message) = create_initiation(
            &node.identity,
            &plan.public_key,
            &plan.static_static,
            &plan.preshared_key,
            plan.timestamp,
            index,
            &mut node.rng,
        )
        .unwrap();
        node.peer.commit_initiation(now, &mut node.rng, plan.epoch, pending, &mut message).unwrap();
        node.peer.add_sent(INITIATION_LEN as u64, 1);
        self.put(side, Datagram::Initiation(message));
    }

    pub(super) fn receive(&mut self, side: Side, datagram: Datagram) {
        match datagram {
            Datagram::Initiation(message) => self.receive_initiation(side, &message),
            Datagram::Response(message) => self.receive_response(side, &message),
            Datagram::Transport { receiver, counter, data } => self.receive_transport(side, receiver, counter, data),
        }
        self.drain(side);
    }

    pub(super) fn receive_initiation(&mut self, side: Side, message: &[u8; INITIATION_LEN]) {
        let (now, from) = (self.now, learned(side.other() as u8 + 1));
        let node = self.node(side);
        let received = consume_initiation(&node.identity, &node.secrets, message).unwrap();
        let Ok(epoch) = node.peer.accept_initiation(now, &mut node.rng, received.timestamp, from) else { return };
        let index = node.indices.insert(Entry::Handshake, &mut node.rng);
        let preshared_key = node.peer.preshared_key().clone();
        let (keys, mut response) = received.respond(&preshared_key, index, &mut node.rng).unwrap();
        node.peer.commit_response(now, &mut node.rng, epoch, keys, &mut response).unwrap();
        node.peer.add_sent(RESPONSE_LEN as u64, 1);
        self.put(side, Datagram::Response(response));
    }

    pub(super) fn receive_response(&mut self, side: Side, message: &[u8; RESPONSE_LEN]) {
        let (now, from) = (self.now, learned(side.other() as u8 + 1));
        let index = Index(u32::from_le_bytes(message[8..12].try_into().unwrap()));
        let node = self.node(side);
        if !matches!(node.indices.lookup(index), Some(Entry::Handshake)) {
            return;
        }
        let Some((mut pending, epoch)) = node.peer.take_pending(index) else { return };
        match pending.consume_response(message) {
            Ok(keys) => {
                node.peer.commit_session(now, wall_at(now), &mut node.rng, epoch, keys, from).unwrap();
            }
            Err(_) => node.peer.restore_pending(epoch, pending),
        }
    }

    pub(super) fn receive_transport(&mut self, side: Side, receiver: Index, counter: u64, data: bool) {
        let (now, from) = (self.now, learned(side.other() as u8 + 1));
        let node = self.node(side);
        let Some(Entry::Keypair(keypair)) = node.indices.lookup(receiver) else { return };
        let index = keypair.local;
        if node.peer.accept(now, index, counter).is_err() {
            return;
        }
        node.peer.on_received(now, wall_at(now), &mut node.rng, Received { index, from, data });
        node.peer.add_received(if data { DATA_LEN } else { KEEPALIVE_LEN as u64 }, 1);
        node.delivered += usize::from(data);
        self.opened.push((side, index, counter));
    }

    /// When `side` sent messages of `kind`.
    pub(super) fn sent(&self, side: Side, kind: Kind) -> Vec<Duration> {
        self.trace.iter().filter(|(_, from, what)| (*from, *what) == (side, kind)).map(|(when, ..)| *when).collect()
    }
}
