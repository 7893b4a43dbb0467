//! An observer of one path that knows no key, and holds the protocol's invariants against what it sees.
//!
//! Numbers in brackets, here and in messages of failed checks, are those of the protocol's invariants. Who holds which,
//! at every step:
//!
//! | invariant | held by |
//! |---|---|
//! | 1 no counter under a key twice | `Watch::data_sent` |
//! | 2 nothing sent with a key in `next` | `Watch::data_sent` |
//! | 3 no state changes by what is not authentic | `World::attack`, with `Node::fingerprint` |
//! | 4 endpoints move to authentic senders only | `Node::check_endpoints` |
//! | 5 a counter is delivered at most once | `Watch::delivered` |
//! | 6 the greatest timestamp never decreases | `World::attack`: replayed initiations change nothing |
//! | 7 at most 4 indices a peer | `Node::check_bounds` |
//! | 8 a prefix has one owner | not here: `proto::allowedips` against its twin |
//! | 9 silence after removal and down | `Watch::sent` and `Watch::delivered` |
//! | 10 queues are bounded | `Node::check_bounds` |
//! | 11 initiations 5 s apart; copies of one 1 s, to different addresses 250 ms | `Watch::message_sent` |
//! | 12 no answer to the unauthenticated | `World::carry_off_from` |
//! | 13 clocks may jump | all of it, compiled with overflow checks: suspend, steps of the calendar |
//! | 14 keys are wiped | not here: `proto::keypair` and `proto::keys` |
//!
//! Also: no data under a key 180 s old (`Watch::data_sent`), and after the network has healed both sides hear each other
//! within the protocol's time, idle ones fall silent (`scenario`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rvpn::platform::fake::Train;
use rvpn::proto::candidates::{RACE_SPACING, REPEAT_SPACING};
use rvpn::proto::constants::{REJECT_AFTER_TIME, REKEY_TIMEOUT};
use rvpn::proto::time::Instant;

/// What the observer remembers.
#[derive(Default)]
pub(crate) struct Watch {
    nodes: [Node; 2],
    /// All numbers ever delivered.
    delivered: BTreeSet<u64>,
    first_sent: Option<Instant>,
}

/// What it knows of one node.
#[derive(Default)]
struct Node {
    /// When the node last sent an initiation or a response.
    last_handshake: Option<Instant>,
    /// Its last initiation, of which a peer that has not answered is sent copies: who got the first refuses them as replays.
    initiation: Vec<u8>,
    /// When it was last sent to each address.
    asked: BTreeMap<SocketAddr, Instant>,
    /// Keys it sends with, by the index of the receiver.
    sending: BTreeMap<u32, SendingKey>,
    /// Indices of its own with which it has received data.
    confirmed: BTreeSet<u32>,
    /// Counts of messages sent, by type.
    sent: [usize; 5],
    last_sent: Option<Instant>,
    /// It is down, or has removed its peer.
    silent: bool,
}

#[derive(Default)]
struct SendingKey {
    next_counter: u64,
    /// No data may be sent from then on.
    dead: Option<Instant>,
    /// The node answered with this index of its own: it may send only after it has received data for it.
    answered_with: Option<u32>,
}

impl Watch {
    /// Node `n` sent `train` at `now`, when its own clock showed `own`.
    pub(crate) fn sent(&mut self, n: usize, now: Instant, own: Instant, train: &Train) {
        assert!(!self.nodes[n].silent, "[9] node {n} sent although it is down or has removed its peer");
        for message in train.payloads() {
            self.message_sent(n, own, train.to, message);
        }
        self.nodes[n].last_sent = Some(now);
        self.first_sent.get_or_insert(now);
    }

    fn message_sent(&mut self, n: usize, now: Instant, to: SocketAddr, message: &[u8]) {
        let kind = message[0];
        let node = &mut self.nodes[n];
        node.sent[usize::from(kind)] += 1;
        match (kind, message.len()) {
            (1, 148) if node.initiation == message => {
                let spacing = node.asked.values().map(|last| now.since(*last)).min();
                assert!(spacing >= Some(RACE_SPACING), "[11] node {n} copies an initiation after {spacing:?}");
                if let Some(last) = node.asked.insert(to, now) {
                    let spacing = now.since(last);
                    assert!(spacing >= REPEAT_SPACING, "[11] node {n} copies an initiation to {to} after {spacing:?}");
                }
                let age = node.last_handshake.map_or(Duration::ZERO, |first| now.since(first));
                assert!(age < REKEY_TIMEOUT, "[11] node {n} copies an initiation of {age:?} ago");
            }
            (1, 148) => {
                node.initiation = message.to_vec();
                node.asked = BTreeMap::from([(to, now)]);
                if let Some(last) = node.last_handshake.replace(now) {
                    let spacing = now.since(last);
                    assert!(
                        spacing >= REKEY_TIMEOUT,
                        "[11] node {n} initiates {spacing:?} after its last handshake message"
                    );
                }
            }
            (2, 92) => {
                node.last_handshake = Some(now);
                let (own, receiver) = (index(message, 4), index(message, 8));
                let dead = Some(now.plus(REJECT_AFTER_TIME));
                node.sending.insert(receiver, SendingKey { next_counter: 0, dead, answered_with: Some(own) });
            }
            (3, 64) => {}
            (4, len) if len >= 32 && len % 16 == 0 || len > 1_400 => self.data_sent(n, now, message),
            (kind, len) => panic!("node {n} sent a message of type {kind} and {len} bytes"),
        }
    }

    fn data_sent(&mut self, n: usize, now: Instant, message: &[u8]) {
        let receiver = index(message, 4);
        let counter = u64::from_le_bytes(message[8..16].try_into().expect("8 bytes"));
        let node = &mut self.nodes[n];
        let key = node.sending.entry(receiver).or_default();
        // Stricter than "at most once": packets leave in the order of their counters.
        assert!(
            counter >= key.next_counter,
            "[1] node {n} sent counter {counter} again or late, {} is next",
            key.next_counter
        );
        key.next_counter = counter + 1;
        if let Some(own) = key.answered_with {
            assert!(node.confirmed.contains(&own), "[2] node {n} sent data with a key that is not confirmed");
        }
        if let Some(dead) = key.dead {
            assert!(now < dead, "node {n} sent data with a key that is {:?} too old", now.since(dead));
        }
    }

    /// `train` reached side `n`, which is awake, up and has its peer, when its own clock showed `now`. Only genuine trains are told here.
    pub(crate) fn arrived(&mut self, n: usize, now: Instant, train: &Train) {
        for message in train.payloads() {
            let node = &mut self.nodes[n];
            match message[0] {
                2 => {
                    let key = node.sending.entry(index(message, 4)).or_default();
                    key.dead.get_or_insert(now.plus(REJECT_AFTER_TIME));
                }
                4 => {
                    node.confirmed.insert(index(message, 4));
                }
                _ => {}
            }
        }
    }

    /// The packet `number` came out of node `n`'s TUN.
    pub(crate) fn delivered(&mut self, n: usize, number: u64) {
        assert!(!self.nodes[n].silent, "[9] node {n} delivered although it is down or has removed its peer");
        assert!(self.delivered.insert(number), "[5] packet {number:x} came out of node {n} twice");
    }

    /// Node `n` went down or removed its peer: it must be silent, and its memory of handshakes sent is void.
    pub(crate) fn falls_silent(&mut self, n: usize) {
        self.nodes[n].last_handshake = None;
        self.nodes[n].silent = true;
    }

    /// Node `n` is up and has its peer.
    pub(crate) fn may_speak(&mut self, n: usize) {
        self.nodes[n].silent = false;
    }

    /// Tells whether the packet `number` was delivered.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.delivered.contains(&number)
    }

    /// Returns how many messages of type `kind` node `n` has sent.
    pub(crate) fn count(&self, n: usize, kind: usize) -> usize {
        self.nodes[n].sent[kind]
    }

    /// Returns how long ago the first message was sent.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.since(self.first_sent.unwrap_or(now))
    }

    /// Returns how long both nodes have been silent.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        let last = self.nodes.iter().filter_map(|node| node.last_sent).max();
        now.since(last.unwrap_or_default())
    }
}

fn index(message: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(message[at..at + 4].try_into().expect("4 bytes"))
}
