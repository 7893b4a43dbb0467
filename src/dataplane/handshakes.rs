//! Handshake messages: their queue, and the one thread that computes on them.
//!
//! ```text
//!  push (packet thread) ─► incoming ─┐                        ┌─► accept ─► respond (DH) ─► commit ─► send
//!                                    ├─► mac1 ─► load? ─► DH ─┤
//!  initiate (any thread) ─► asked ───┘                        └─► commit ─► keepalive
//! ```
//! Diffie-Hellman runs without any peer's lock: a step takes what it needs under the lock, computes, and commits under
//! the lock again, where the peer refuses it if something intervened. Data and handshakes share no queue.
//!
//! Not here: the computation (see `proto::handshake`), the rules of when to start one (see `proto::peer`).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::budget::Budget;
use super::device::{Device, IndexEntry};
use super::evidence::{Stale, note};
use super::peer::Peer;
use super::stats::{Count, Drop};
use super::sync::{Condvar, Mutex, MutexGuard, lock, read, wait, yield_now};
use super::workers::Context;
use crate::proto::constants::{MAX_QUEUED_HANDSHAKES, UNDER_LOAD_MEMORY, UNDER_LOAD_QUEUE};
use crate::proto::cookie::CookieChecker;
use crate::proto::endpoint::Endpoint;
use crate::proto::handshake::{self, HandshakeError, Identity, StaticSecrets};
use crate::proto::index::Index;
use crate::proto::keys::PrivateKey;
use crate::proto::messages::{self, INITIATION_LEN, Message, RESPONSE_LEN};
use crate::proto::peer::Refusal;
use crate::proto::ratelimiter::RateLimiter;
use crate::proto::time::Instant;

/// Our identity, and what is derived from it for answering.
pub(super) struct LocalIdentity {
    pub(super) identity: Identity,
    checker: Mutex<CookieChecker>,
}

impl LocalIdentity {
    pub(super) fn new(private_key: PrivateKey) -> Self {
        let identity = Identity::new(private_key);
        let checker = Mutex::new(CookieChecker::new(identity.public_key()));
        Self { identity, checker }
    }
}

/// Work for the handshake thread. Incoming messages are bounded in number, requests by the number of peers.
pub(super) struct HandshakeQueue {
    lanes: Mutex<Lanes>,
    available: Condvar,
}

#[derive(Default)]
struct Lanes {
    incoming: VecDeque<Incoming>,
    asked: VecDeque<Arc<Peer>>,
    /// Threads that wait for work. To notify nobody is a system call all the same, in a flood one for every message.
    idle: usize,
    stopped: bool,
}

/// A handshake message or cookie reply, by value: it is at most 148 bytes, and its buffer goes back at once.
pub(super) struct Incoming {
    bytes: [u8; INITIATION_LEN],
    len: u8,
    from: Endpoint,
}

/// What the handshake thread does next.
pub(super) enum Work {
    /// A message, and how many waited with it.
    Message(Box<Incoming>, usize),
    /// A peer has asked for an initiation.
    Initiate(Arc<Peer>),
}

impl HandshakeQueue {
    pub(super) fn new() -> Self {
        Self { lanes: Mutex::new(Lanes::default()), available: Condvar::new() }
    }

    /// Queues a message of at most 148 bytes; false if the queue is full. Never blocks the packet thread for longer
    /// than a copy of one message.
    pub(super) fn push(&self, message: &[u8], from: Endpoint) -> bool {
        let mut bytes = [0; INITIATION_LEN];
        let Some(room) = bytes.get_mut(..message.len()) else { return false };
        room.copy_from_slice(message);
        let mut lanes = lock(&self.lanes);
        if lanes.incoming.len() >= MAX_QUEUED_HANDSHAKES {
            return false;
        }
        lanes.incoming.push_back(Incoming { bytes, len: message.len() as u8, from });
        self.wake(lanes);
        true
    }

    /// Queues a request for an initiation; the caller sees to it that there is at most one per peer.
    pub(super) fn initiate(&self, peer: Arc<Peer>) {
        let mut lanes = lock(&self.lanes);
        lanes.asked.push_back(peer);
        self.wake(lanes);
    }

    fn wake(&self, lanes: MutexGuard<'_, Lanes>) {
        let idle = lanes.idle > 0;
        drop(lanes);
        if idle {
            self.available.notify_one();
        }
    }

    /// Returns how many messages wait, and how many requests.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let lanes = lock(&self.lanes);
        (lanes.incoming.len(), lanes.asked.len())
    }

    /// Takes the next work. Our own initiations come first: they are few, and a flood must not keep us from renewing.
    pub(super) fn try_next(&self) -> Option<Work> {
        lock(&self.lanes).next()
    }

    /// Waits for work; `None` once the queue is stopped.
    pub(super) fn next(&self) -> Option<Work> {
        let mut lanes = lock(&self.lanes);
        while !lanes.stopped {
            if let Some(work) = lanes.next() {
                return Some(work);
            }
            lanes.idle += 1;
            lanes = wait(&self.available, lanes);
            lanes.idle -= 1;
        }
        None
    }

    /// Forgets the messages that wait: the interface went down.
    pub(super) fn clear(&self) {
        lock(&self.lanes).incoming.clear();
    }

    /// Ends all present and future waits.
    pub(super) fn stop(&self) {
        lock(&self.lanes).stopped = true;
        self.available.notify_all();
    }
}

impl Lanes {
    fn next(&mut self) -> Option<Work> {
        if let Some(peer) = self.asked.pop_front() {
            return Some(Work::Initiate(peer));
        }
        let waiting = self.incoming.len();
        self.incoming.pop_front().map(|incoming| Work::Message(Box::new(incoming), waiting))
    }
}

/// What the handshake thread knows from one message to the next.
pub(super) struct HandshakeState {
    limiter: RateLimiter,
    last_under_load: Option<Instant>,
    /// Log lines about messages that anyone can send.
    complaints: Budget,
}

impl HandshakeState {
    pub(super) fn new() -> Self {
        Self { limiter: RateLimiter::new(), last_under_load: None, complaints: Budget::new() }
    }

    fn under_load(&mut self, now: Instant, waiting: usize) -> bool {
        if waiting >= UNDER_LOAD_QUEUE {
            self.last_under_load = Some(now);
        }
        self.last_under_load.is_some_and(|last| now.since(last) < UNDER_LOAD_MEMORY)
    }

    /// Returns until when it is so, unless the queue fills again.
    fn under_load_until(&self) -> Option<Instant> {
        Some(self.last_under_load?.plus(UNDER_LOAD_MEMORY))
    }
}

impl Device {
    /// Does one piece of handshake work.
    pub(super) fn handshake(&self, context: &mut Context, state: &mut HandshakeState, work: Work) {
        while self.pausing.load(Ordering::Relaxed) > 0 {
            yield_now();
        }
        let _exclusive = lock(&self.handshaking);
        match work {
            Work::Initiate(peer) => self.initiate(context, &peer),
            Work::Message(incoming, waiting) => self.consume(context, state, &incoming, waiting),
        }
    }

    /// Waits for the handshake step that is being made, and lets none begin while the guard lives.
    ///
    /// The mutex is not fair: in a flood the handshake thread takes it again before who waits has woken up (with steps
    /// of 15 us on two cores: 8 ms on average, 170 ms at worst, for each removal of a peer). So that thread stands back.
    /// The counter decides nothing else, hence relaxed.
    pub(super) fn pause_handshakes(&self) -> MutexGuard<'_, ()> {
        self.pausing.fetch_add(1, Ordering::Relaxed);
        let guard = lock(&self.handshaking);
        self.pausing.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Creates and sends an initiation (protocol 3.1, 8.4).
    fn initiate(&self, context: &mut Context, peer: &Arc<Peer>) {
        let (now, wall) = (self.platform.clock.now(), self.platform.clock.wall());
        let local = self.identity();
        let plan = self.with_peer(context, peer, |state, _| {
            state.initiating = false;
            state.core.begin_initiation(now, wall)
        });
        let (Some(plan), Some(local)) = (plan, local) else { return };
        let mut rng = self.rng();
        let index = self.new_index(peer, &mut rng);
        let ephemeral = PrivateKey::generate(&mut rng);
        self.key_log.tell(&ephemeral, &plan.preshared_key);
        let created = handshake::create_initiation_with(
            &local.identity,
            &plan.public_key,
            &plan.static_static,
            &plan.preshared_key,
            plan.timestamp,
            index,
            ephemeral,
        );
        let Ok((pending, mut message)) = created else {
            return self.free_index(index);
        };
        let committed = self.with_peer(context, peer, |state, rng| {
            let endpoint = state.core.commit_initiation(now, rng, plan.epoch, pending, &mut message)?;
            // Without the time that computing it took: this is the round trip's beginning.
            state.handshakes.begun(self.platform.clock.now());
            state.evidence.initiated();
            Ok::<_, Refusal>(endpoint)
        });
        match committed {
            Ok(endpoint) => {
                tracing::debug!("Sending handshake initiation to peer {} ({})", peer.label(), endpoint.remote);
                self.send_initiation(context, peer, endpoint, &message);
            }
            Err(_) => self.free_index(index),
        }
    }

    /// Checks the MACs of a message, refuses it under load, else hands it on (protocol 5.1).
    fn consume(&self, context: &mut Context, state: &mut HandshakeState, incoming: &Incoming, waiting: usize) {
        let now = self.platform.clock.now();
        let bytes = &incoming.bytes[..usize::from(incoming.len)];
        let from = incoming.from;
        let Some(local) = self.identity() else { return self.stats.dropped(Drop::BadHandshake, 1) };
        let under_load = state.under_load(now, waiting);
        self.stats.set_under_load(state.under_load_until());
        let Some(message) = messages::parse(bytes) else { return };
        self.stats.counted(match message {
            Message::Initiation(_) => Count::InitiationsReceived,
            Message::Response(_) => Count::ResponsesReceived,
            Message::CookieReply(_) | Message::Data { .. } => Count::CookieRepliesReceived,
        });
        if let Message::CookieReply(reply) = message {
            return self.consume_cookie_reply(now, reply);
        }
        if !lock(&local.checker).mac1_is_valid(bytes) {
            self.evidence.note(|device| note(&mut device.bad_mac1, now, 1, from.remote));
            return self.stats.dropped(Drop::BadMac, 1);
        }
        if under_load && !self.admit(context, state, now, &local, bytes, from) {
            return self.stats.dropped(Drop::UnderLoad, 1);
        }
        let consumed = match message {
            Message::Initiation(initiation) => self.consume_initiation(context, now, &local, initiation, from),
            Message::Response(response) => self.consume_response(context, now, response, from),
            Message::CookieReply(_) | Message::Data { .. } => Ok(()),
        };
        if let Err(reason) = consumed {
            self.stats.dropped(Drop::BadHandshake, 1);
            if let Refused::Invalid(HandshakeError::UnknownPeer(key)) = reason {
                self.evidence.note(|device| note(&mut device.unknown_initiator, now, 1, (key, from.remote)));
            }
            if state.complaints.allow(now) {
                tracing::debug!("Invalid handshake message from {}: {reason}", from.remote);
            }
        }
    }

    /// Under load: a message without our cookie gets one instead of an answer; one with it needs a token.
    fn admit(
        &self,
        context: &mut Context,
        state: &mut HandshakeState,
        now: Instant,
        local: &LocalIdentity,
        bytes: &[u8],
        from: Endpoint,
    ) -> bool {
        let mut checker = lock(&local.checker);
        if checker.mac2_is_valid(now, &mut context.rng, bytes, from.remote) {
            let source: IpAddr = from.remote.ip();
            return state.limiter.allow(now, source);
        }
        let reply = checker.reply(now, &mut context.rng, bytes, from.remote);
        drop(checker);
        self.stats.counted(Count::CookieRepliesSent);
        if let Some(udp) = self.udp() {
            let transmit = super::io::Transmit { to: from, ds: 0, bytes: &reply, segment_len: reply.len() };
            // A reply that is not sent is asked for again by the next attempt.
            let _ = udp.send(&[transmit]);
        }
        false
    }

    fn consume_cookie_reply(&self, now: Instant, reply: &[u8; messages::COOKIE_REPLY_LEN]) {
        let index = messages::cookie_reply_receiver(reply);
        let entry = read(&self.indices).lookup(index).cloned();
        let (Some(IndexEntry::Handshake(peer)) | Some(IndexEntry::Keypair(peer, _))) = entry else {
            return self.stats.dropped(Drop::UnknownIndex, 1);
        };
        let mut state = peer.state();
        let is_ours = state.core.on_cookie_reply(now, reply);
        if is_ours {
            note(&mut state.evidence.trouble().cookie_reply, now, 1, ());
        }
        drop(state);
        if is_ours {
            tracing::debug!("Receiving cookie reply from peer {}", peer.label());
        }
    }

    /// Answers an initiation (protocol 3.2, 3.3).
    fn consume_initiation(
        &self,
        context: &mut Context,
        now: Instant,
        local: &LocalIdentity,
        initiation: &[u8; INITIATION_LEN],
        from: Endpoint,
    ) -> Result<(), Refused> {
        let secrets: Arc<dyn StaticSecrets> = self.peers.clone();
        let received = handshake::consume_initiation(&local.identity, &secrets, initiation)?;
        let peer = self.peers.lookup(&received.initiator).ok_or(HandshakeError::UnknownPeer(received.initiator))?;
        let (epoch, preshared_key) = self.with_peer(context, &peer, |state, rng| {
            let newest = state.core.accepted_timestamp();
            let accepted = state.core.accept_initiation(now, rng, received.timestamp, from);
            if accepted == Err(Refusal::ReplayedTimestamp) {
                let stale = Stale { behind: newest.since(received.timestamp), from: from.remote };
                note(&mut state.evidence.trouble().stale_timestamp, now, 1, stale);
            }
            let epoch = accepted?;
            state.handshakes.called_off();
            Ok::<_, Refused>((epoch, state.core.preshared_key().clone()))
        })?;
        tracing::debug!("Receiving handshake initiation from peer {} ({})", peer.label(), from.remote);

        let mut rng = self.rng();
        let index = self.new_index(&peer, &mut rng);
        let ephemeral = PrivateKey::generate(&mut rng);
        self.key_log.tell(&ephemeral, &preshared_key);
        let answer = received.respond_with(&preshared_key, index, ephemeral).map_err(Refused::from);
        let committed = answer.and_then(|(keys, mut message)| {
            let commit = self.with_peer(context, &peer, |state, rng| {
                let endpoint = state.core.commit_response(now, rng, epoch, keys, &mut message)?;
                state.evidence.responded();
                Ok::<_, Refusal>(endpoint)
            });
            Ok((commit?, message))
        });
        let (endpoint, message) = committed.inspect_err(|_| self.free_index(index))?;
        tracing::debug!("Sending handshake response to peer {} ({})", peer.label(), endpoint.remote);
        self.stats.counted(Count::ResponsesSent);
        self.send_handshake(&peer, endpoint, &message);
        Ok(())
    }

    /// Completes a handshake of ours (protocol 3.4). A response that fails leaves the pending one as it was.
    fn consume_response(
        &self,
        context: &mut Context,
        now: Instant,
        response: &[u8; RESPONSE_LEN],
        from: Endpoint,
    ) -> Result<(), Refused> {
        let index: Index = messages::response_receiver(response);
        let entry = read(&self.indices).lookup(index).cloned();
        let Some(IndexEntry::Handshake(peer)) = entry else { return Err(Refused::NoPending) };
        let taken = self.with_peer(context, &peer, |state, _| state.core.take_pending(index));
        let (mut pending, epoch) = taken.ok_or(Refused::NoPending)?;
        match pending.consume_response(response) {
            Ok(keys) => {
                let wall = self.platform.clock.wall();
                tracing::debug!("Receiving handshake response from peer {} ({})", peer.label(), from.remote);
                let rtt = self.with_peer(context, &peer, |state, rng| {
                    state.core.commit_session(now, wall, rng, epoch, keys, from)?;
                    state.evidence.responses_received += 1;
                    Ok::<_, Refusal>(state.handshakes.answered(now))
                })?;
                if let Some(rtt) = rtt {
                    self.stats.add_handshake_rtt(rtt);
                }
                Ok(())
            }
            Err(error) => {
                self.with_peer(context, &peer, |state, _| {
                    state.core.restore_pending(epoch, pending);
                    note(&mut state.evidence.trouble().bad_response, now, 1, from.remote);
                });
                Err(error.into())
            }
        }
    }

    /// Sends an initiation. Where it cannot even leave, another address of the peer is asked at once.
    pub(super) fn send_initiation(&self, context: &mut Context, peer: &Arc<Peer>, to: Endpoint, message: &[u8]) {
        self.stats.counted(Count::InitiationsSent);
        if !self.send_handshake(peer, to, message) {
            let now = self.platform.clock.now();
            self.with_peer(context, peer, |state, _| state.core.candidate_is_unreachable(now));
        }
    }

    /// Tells whether the socket took it.
    fn send_handshake(&self, peer: &Peer, endpoint: Endpoint, message: &[u8]) -> bool {
        let sent = self.transmit_one(peer, endpoint, HANDSHAKE_DS, message);
        if sent > 0 {
            peer.state().core.add_sent(sent, 1);
        }
        sent > 0
    }
}

/// Why a handshake message came to nothing.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Invalid(#[from] handshake::HandshakeError),
    #[error(transparent)]
    State(#[from] Refusal),
    #[error("no handshake is pending under its index")]
    NoPending,
}

/// DSCP AF41, not ECN-capable: as the kernel marks handshakes.
const HANDSHAKE_DS: u8 = 0x88;
