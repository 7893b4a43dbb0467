//! Peers in virtual time: one alone, told what happens to it, and two that talk over a wire of this file.
//!
//! Handshakes are computed for real. Transport packets carry index and counter only: whether they are authentic is not
//! the peer's business.

mod clock;
mod handshake;
mod lifecycle;
mod rotation;
mod sending;
mod timelines;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::proto::endpoint::Source;
use crate::proto::handshake::{HandshakeError, Identity, StaticSecrets, consume_initiation, create_initiation};
use crate::proto::index::IndexTable;
use crate::proto::keypair::SessionKeys;
use crate::proto::keys::{PrivateKey, SessionKey};
use crate::proto::messages::{INITIATION_LEN, KEEPALIVE_LEN, RESPONSE_LEN};

const MS: Duration = Duration::from_millis(1);
const DATA_LEN: u64 = 128;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The boot-time clock of every test starts here, so that "earlier" exists.
fn start() -> Instant {
    Instant::from_nanos(0).plus(secs(1_000_000))
}

fn at(after: Duration) -> Instant {
    start().plus(after)
}

fn wall_at(now: Instant) -> WallTime {
    let since = now.since(start());
    WallTime { secs: 1_700_000_000 + since.as_secs(), nanos: since.subsec_nanos() }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 51820)
}

/// The endpoint of a datagram that came from `host` to the local address 198.51.100.1.
fn learned(host: u8) -> Endpoint {
    let source = Source { address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), interface: 2 };
    Endpoint { remote: address(host), source: Some(source) }
}

// --- One peer alone ------------------------------------------------------------------------------------------------

/// One peer; what it asks for is collected, handshakes are made up.
struct Solo {
    peer: Peer,
    rng: StdRng,
    next_index: u32,
    next_stamp: u8,
}

impl Solo {
    /// Makes a peer that is up, with an endpoint and an identity; what that asks for is drained.
    fn new() -> Self {
        let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
        peer.set_endpoint(address(9));
        peer.up(start());
        let mut solo = Self { peer, rng: StdRng::seed_from_u64(1), next_index: 1, next_stamp: 1 };
        solo.drain();
        solo
    }

    fn with_session(role: Role, birth: Instant) -> Self {
        let mut solo = Self::new();
        match role {
            Role::Initiator => solo.install_as_initiator(birth),
            Role::Responder => {
                let index = solo.install_as_responder(birth);
                solo.receive(birth, index, false);
                index
            }
        };
        solo.drain();
        solo
    }

    fn keys(&mut self, role: Role) -> SessionKeys {
        let local = Index(self.next_index);
        self.next_index += 1;
        let key = || SessionKey::new([3; 32]);
        SessionKeys { role, send: key(), receive: key(), local, remote: Index(local.0 + 1000) }
    }

    /// A response to an initiation of ours arrived.
    fn install_as_initiator(&mut self, now: Instant) -> Index {
        let keys = self.keys(Role::Initiator);
        let index = keys.local;
        self.peer.handshake = Handshake::Lent(index);
        let epoch = self.peer.epoch;
        self.peer.commit_session(now, wall_at(now), &mut self.rng, epoch, keys, learned(9)).unwrap();
        index
    }

    fn stamp(&mut self) -> Timestamp {
        self.next_stamp += 1;
        let mut stamp = [0; 12];
        stamp[0] = self.next_stamp;
        Timestamp(stamp)
    }

    /// An initiation arrived and is answered.
    fn install_as_responder(&mut self, now: Instant) -> Index {
        let stamp = self.stamp();
        let epoch = self.peer.accept_initiation(now, &mut self.rng, stamp, learned(9)).unwrap();
        let keys = self.keys(Role::Responder);
        let index = keys.local;
        self.peer.commit_response(now, &mut self.rng, epoch, keys, &mut [0; RESPONSE_LEN]).unwrap();
        index
    }

    /// Begins an initiation and commits it; false if none was allowed.
    fn initiate(&mut self, now: Instant) -> bool {
        let Some(plan) = self.peer.begin_initiation(now, wall_at(now)) else { return false };
        let (pending, mut message) = self.compute(&plan);
        self.peer.commit_initiation(now, &mut self.rng, plan.epoch, pending, &mut message).unwrap();
        true
    }

    fn compute(&mut self, plan: &InitiationPlan) -> (crate::proto::handshake::PendingInitiation, Vec<u8>) {
        let identity = identity(1);
        let other = identity_of_other();
        let index = Index(self.next_index);
        self.next_index += 1;
        let (pending, message) = create_initiation(
            &identity,
            other.public_key(),
            &identity.static_static(other.public_key()).unwrap(),
            &plan.preshared_key,
            plan.timestamp,
            index,
            &mut self.rng,
        )
        .unwrap();
        (pending, message.to_vec())
    }

    /// A transport packet with `index` was accepted.
    fn receive(&mut self, now: Instant, index: Index, data: bool) {
        let received = Received { index, from: learned(9), data };
        self.peer.on_received(now, wall_at(now), &mut self.rng, received);
    }

    /// A data packet was accepted under the current session.
    fn receive_data(&mut self, now: Instant) {
        let index = self.current();
        self.receive(now, index, true);
    }

    /// A data packet or keepalive left.
    fn send(&mut self, now: Instant, data: bool) {
        assert!(self.peer.reserve(now, 1).is_some());
        let bytes = if data { DATA_LEN } else { KEEPALIVE_LEN as u64 };
        self.peer.on_sent(now, &mut self.rng, Sent { bytes, data });
    }

    fn timeout(&mut self, now: Instant) -> Vec<String> {
        self.peer.handle_timeout(now, &mut self.rng);
        self.drain()
    }

    /// Drains; outputs as text.
    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.peer.poll_output())
            .map(|output| match output {
                Output::Publish(keypair) => format!("Publish({})", keypair.local.0),
                Output::Release(index) => format!("Release({})", index.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn current(&self) -> Index {
        self.peer.sessions.current.as_ref().unwrap().keypair.local
    }

    /// The indices in previous, current, next; 0 for an empty slot.
    fn slots(&self) -> [u32; 3] {
        let sessions = &self.peer.sessions;
        [&sessions.previous, &sessions.current, &sessions.next]
            .map(|slot| slot.as_ref().map_or(0, |session| session.keypair.local.0))
    }

    /// Asserts that nothing happens up to 1 ms before `due`, and returns what happens then.
    fn only_at(&mut self, due: Instant) -> Vec<String> {
        assert_eq!(self.peer.poll_timeout(), Some(due));
        assert_eq!(self.timeout(due.minus(MS)), [""; 0]);
        self.timeout(due)
    }
}

fn identity(n: u8) -> Identity {
    Identity::new(PrivateKey::new([n; 32]).unwrap())
}

fn identity_of_other() -> Identity {
    identity(2)
}

// --- Two peers and a wire ------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}
use Side::{A, B};

impl Side {
    fn other(self) -> Self {
        match self {
            A => B,
            B => A,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Initiation,
    Response,
    Keepalive,
    Data,
}
use Kind::{Data, Initiation, Keepalive, Response};

#[derive(Clone)]
enum Datagram {
    Initiation([u8; INITIATION_LEN]),
    Response([u8; RESPONSE_LEN]),
    Transport { receiver: Index, counter: u64, data: bool },
}

impl Datagram {
    fn kind(&self) -> Kind {
        match self {
            Self::Initiation(_) => Initiation,
            Self::Response(_) => Response,
            Self::Transport { data: true, .. } => Data,
            Self::Transport { .. } => Keepalive,
        }
    }
}

enum Entry {
    Handshake,
    Keypair(Arc<Keypair>),
}

/// What a device is to its only peer.
struct Node {
    identity: Identity,
    secrets: Arc<dyn StaticSecrets>,
    peer: Peer,
    rng: StdRng,
    indices: IndexTable<Entry>,
    /// Staged packets: true is data, false the empty packet of a keepalive.
    staged: VecDeque<bool>,
    purged: usize,
    delivered: usize,
    completed: usize,
    gave_up: Vec<Duration>,
}

struct Secrets(HashMap<PublicKey, SharedSecret>);

impl StaticSecrets for Secrets {
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError> {
        self.0.get(peer).cloned().ok_or(HandshakeError::UnknownPeer)
    }
}

impl Node {
    fn new(own: u8, other: u8) -> Self {
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
            rng: StdRng::seed_from_u64(own.into()),
            indices: IndexTable::new(),
            staged: VecDeque::new(),
            purged: 0,
            delivered: 0,
            completed: 0,
            gave_up: Vec::new(),
        }
    }
}

/// Two peers, one clock, a wire without delay unless told otherwise, and a record of what was sent.
struct Pair {
    a: Node,
    b: Node,
    now: Instant,
    delay: Duration,
    /// What a side sends is lost.
    cut: [bool; 2],
    wire: VecDeque<(Instant, Side, Datagram)>,
    trace: Vec<(Duration, Side, Kind)>,
}

impl Pair {
    /// Makes two peers that know each other and are up.
    fn new() -> Self {
        let mut pair = Self {
            a: Node::new(1, 2),
            b: Node::new(2, 1),
            now: start(),
            delay: Duration::ZERO,
            cut: [false; 2],
            wire: VecDeque::new(),
            trace: Vec::new(),
        };
        for side in [A, B] {
            pair.node(side).peer.up(start());
            pair.drain(side);
        }
        pair
    }

    /// Makes two peers with a session that A initiated at the start, confirmed by a keepalive; timers are quiet.
    fn with_session() -> Self {
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

    fn node(&mut self, side: Side) -> &mut Node {
        match side {
            A => &mut self.a,
            B => &mut self.b,
        }
    }

    fn elapsed(&self) -> Duration {
        self.now.since(start())
    }

    fn peer_asks_for_keepalive(&mut self, side: Side) {
        self.node(side).peer.outputs.keepalive = true;
        self.drain(side);
    }

    /// `side` has a packet for the other.
    fn send(&mut self, side: Side) {
        self.node(side).staged.push_back(true);
        self.flush(side);
        self.drain(side);
    }

    /// `side` sends a packet every `interval` from now until `end`.
    fn send_every(&mut self, side: Side, interval: Duration, end: Duration) {
        let mut next = self.elapsed();
        while next <= end {
            self.run_until(next);
            self.send(side);
            next += interval;
        }
        self.run_until(end);
    }

    /// Lets time pass until `end` after the start: timers at their exact deadlines, datagrams when they arrive.
    fn run_until(&mut self, end: Duration) {
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

    fn deliver_first(&mut self) {
        let first = self.wire.iter().enumerate().min_by_key(|(_, (due, ..))| *due).map(|(place, _)| place);
        let (_, to, datagram) = self.wire.remove(first.unwrap()).unwrap();
        self.receive(to, datagram);
    }

    fn put(&mut self, from: Side, datagram: Datagram) {
        self.trace.push((self.elapsed(), from, datagram.kind()));
        if !self.cut[from as usize] {
            self.wire.push_back((self.now.plus(self.delay), from.other(), datagram));
        }
    }

    fn drain(&mut self, side: Side) {
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
                Output::HandshakeGaveUp => node.gave_up.push(elapsed),
            }
            assert!(self.node(side).indices.len() <= 4);
        }
    }

    fn flush(&mut self, side: Side) {
        let now = self.now;
        let node = self.node(side);
        let count = node.staged.len();
        if count == 0 {
            return;
        }
        let Some(grant) = node.peer.reserve(now, count as u64) else { return };
        let packets = std::mem::take(&mut node.staged);
        let bytes = packets.iter().map(|data| if *data { DATA_LEN } else { KEEPALIVE_LEN as u64 }).sum();
        let sent = Sent { bytes, data: packets.contains(&true) };
        for (counter, data) in (grant.first_counter..).zip(packets) {
            self.put(side, Datagram::Transport { receiver: grant.keypair.remote, counter, data });
        }
        let node = self.node(side);
        node.peer.on_sent(now, &mut node.rng, sent);
    }

    fn initiate(&mut self, side: Side) {
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
        node.peer.add_tx_bytes(INITIATION_LEN as u64);
        self.put(side, Datagram::Initiation(message));
    }

    fn receive(&mut self, side: Side, datagram: Datagram) {
        match datagram {
            Datagram::Initiation(message) => self.receive_initiation(side, &message),
            Datagram::Response(message) => self.receive_response(side, &message),
            Datagram::Transport { receiver, counter, data } => self.receive_transport(side, receiver, counter, data),
        }
        self.drain(side);
    }

    fn receive_initiation(&mut self, side: Side, message: &[u8; INITIATION_LEN]) {
        let (now, from) = (self.now, learned(side.other() as u8 + 1));
        let node = self.node(side);
        let received = consume_initiation(&node.identity, &node.secrets, message).unwrap();
        let Ok(epoch) = node.peer.accept_initiation(now, &mut node.rng, received.timestamp, from) else { return };
        let index = node.indices.insert(Entry::Handshake, &mut node.rng);
        let preshared_key = node.peer.preshared_key().clone();
        let (keys, mut response) = received.respond(&preshared_key, index, &mut node.rng).unwrap();
        node.peer.commit_response(now, &mut node.rng, epoch, keys, &mut response).unwrap();
        node.peer.add_tx_bytes(RESPONSE_LEN as u64);
        self.put(side, Datagram::Response(response));
    }

    fn receive_response(&mut self, side: Side, message: &[u8; RESPONSE_LEN]) {
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

    fn receive_transport(&mut self, side: Side, receiver: Index, counter: u64, data: bool) {
        let (now, from) = (self.now, learned(side.other() as u8 + 1));
        let node = self.node(side);
        let Some(Entry::Keypair(keypair)) = node.indices.lookup(receiver) else { return };
        let index = keypair.local;
        if node.peer.accept(now, index, counter).is_err() {
            return;
        }
        node.peer.on_received(now, wall_at(now), &mut node.rng, Received { index, from, data });
        node.peer.add_rx_bytes(if data { DATA_LEN } else { KEEPALIVE_LEN as u64 });
        node.delivered += usize::from(data);
    }

    /// When `side` sent messages of `kind`.
    fn sent(&self, side: Side, kind: Kind) -> Vec<Duration> {
        self.trace.iter().filter(|(_, from, what)| (*from, *what) == (side, kind)).map(|(when, ..)| *when).collect()
    }
}

/// Asserts that `actual` is `from` plus 0 to 333 whole milliseconds.
fn assert_jittered(actual: Duration, from: Duration) {
    let jitter = actual.checked_sub(from).unwrap_or_else(|| panic!("{actual:?} is before {from:?}"));
    assert!(jitter <= millis(333), "{actual:?} is {jitter:?} after {from:?}");
    assert_eq!(jitter.subsec_nanos() % 1_000_000, 0, "{jitter:?} is not in whole milliseconds");
}
