//! One peer's state machine: sessions, timers, handshake slot, endpoint, byte counters.
//!
//! One mutation, then drain: after any `&mut self` call the caller takes every [`Output`] with
//! [`Peer::poll_output`] and compares [`Peer::poll_timeout`] with the deadline it has scheduled.
//!
//! Not here: Diffie-Hellman (see `handshake`: it runs without the peer's lock, between a `begin_*` or `take_*` call and
//! a `commit_*` call, which re-checks that nothing intervened), staged packets (the caller keeps them, told by outputs).
//!
//! Source: whitepaper section 6; kernel `timers.c`, `noise.c`, `send.c`, `receive.c`.
//!
//! SKELETON: helper fills in the bodies (protocol.md 5.4, 6, 7.4, 7.5, 8, 11.2, 13, 14, 15, 17).

use std::sync::Arc;

use rand::Rng;

use super::endpoint::Endpoint;
use super::handshake::PendingInitiation;
use super::index::Index;
use super::keypair::{Keypair, SessionKeys};
use super::keys::{PresharedKey, PublicKey, SharedSecret};
use super::messages::COOKIE_REPLY_LEN;
use super::time::{Instant, WallTime};
use super::timestamp::Timestamp;

/// What the caller has to do for a peer. Requests are idempotent: two of a kind before draining are one.
#[derive(Debug)]
pub enum Output {
    /// Have a handshake initiation made and sent, away from the data path: see [`Peer::begin_initiation`].
    Initiate,
    /// Send a keepalive: stage one empty packet if nothing is staged, then flush.
    Keepalive,
    /// Try to send what is staged.
    Flush,
    /// Drop what is staged, counted as dropped.
    PurgeStaged,
    /// The index names this keypair from now on.
    Publish(Arc<Keypair>),
    /// The index is free.
    Release(Index),
    /// A handshake completed: for the log and for events.
    HandshakeComplete,
    /// Handshake attempts were given up: for the log and for events.
    HandshakeGaveUp,
}

/// Leave to send: consecutive counters of the current keypair.
#[derive(Debug)]
pub struct SendGrant {
    /// Seals the packets.
    pub keypair: Arc<Keypair>,
    /// Counter of the first packet; the others follow. Each is used at most once, also if sending fails.
    pub first_counter: u64,
}

/// What left the socket in one batch under one grant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// UDP payload bytes handed to the socket successfully.
    pub bytes: u64,
    /// At least one non-empty packet was accepted by the socket.
    pub data: bool,
}

/// What arrived, was authentic and was not a replay, in one batch of one keypair and one source.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Our index of the keypair.
    pub index: Index,
    /// Where the datagrams came from.
    pub from: Endpoint,
    /// At least one packet was not a keepalive.
    pub data: bool,
}

/// All that is needed to compute an initiation without holding the peer's lock.
pub struct InitiationPlan {
    /// The peer's static public key.
    pub public_key: PublicKey,
    /// The static-static secret.
    pub static_static: SharedSecret,
    /// The preshared key at this moment.
    pub preshared_key: PresharedKey,
    /// The timestamp to send; it counts as emitted.
    pub timestamp: Timestamp,
    /// Proof that nothing intervened, for `commit_initiation`.
    pub epoch: Epoch,
}

/// Counts the events that void handshake work in flight: key change, down, clear, removal, another handshake step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

/// Why a valid initiation was not accepted, or a computed step not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The timestamp is not newer than the greatest one accepted.
    #[error("replayed timestamp")]
    ReplayedTimestamp,
    /// Less than 20 ms after the last accepted initiation.
    #[error("initiations too close to each other")]
    Flood,
    /// Key change, down or removal happened while the step was computed, or the interface is down.
    #[error("overtaken by a change of state")]
    Overtaken,
}

/// Why a transport packet was dropped in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its keypair is in no slot any more, or is too old (180 s).
    Expired,
    /// The counter was seen before, is too old, or is beyond the limit.
    Replayed,
}

/// What configuration and `show` want to know.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Where datagrams go.
    pub endpoint: Option<Endpoint>,
    /// Wall clock at the last completed handshake.
    pub last_handshake: Option<WallTime>,
    /// UDP payload bytes received (section 15).
    pub rx_bytes: u64,
    /// UDP payload bytes sent.
    pub tx_bytes: u64,
    /// Seconds; 0 is off.
    pub persistent_keepalive: u16,
    /// The preshared key; all zero if none.
    pub preshared_key: PresharedKey,
}

/// One peer.
pub struct Peer {}

/// Configuration and life.
impl Peer {
    /// Makes a peer that is down, without endpoint, with `static_static` as computed from our identity (`None`
    /// without identity or for a low-order key).
    pub fn new(public_key: PublicKey, static_static: Option<SharedSecret>) -> Self {
        let _ = (public_key, static_static);
        unimplemented!()
    }

    /// Returns the peer's static public key.
    pub fn public_key(&self) -> &PublicKey {
        unimplemented!()
    }

    /// Returns what `show` shows.
    pub fn status(&self) -> PeerStatus {
        unimplemented!()
    }

    /// Returns the static-static secret, `None` without identity or for a low-order key.
    pub fn static_static(&self) -> Option<&SharedSecret> {
        unimplemented!()
    }

    /// Sets the preshared key, for the next handshake.
    pub fn set_preshared_key(&mut self, key: PresharedKey) {
        let _ = key;
        unimplemented!()
    }

    /// Returns the preshared key.
    pub fn preshared_key(&self) -> &PresharedKey {
        unimplemented!()
    }

    /// Sets the persistent keepalive interval in seconds; from 0 to more on an up interface asks for one at once.
    pub fn set_persistent_keepalive(&mut self, now: Instant, secs: u16) {
        let _ = (now, secs);
        unimplemented!()
    }

    /// Sets the endpoint by configuration: the cached source is forgotten.
    pub fn set_endpoint(&mut self, remote: std::net::SocketAddr) {
        let _ = remote;
        unimplemented!()
    }

    /// Returns the endpoint.
    pub fn endpoint(&self) -> Option<Endpoint> {
        unimplemented!()
    }

    /// Forgets the cached source address (it stopped working, fwmark or listen port changed, the route moved).
    pub fn clear_source(&mut self) {
        unimplemented!()
    }

    /// Our private key changed (13.1 step 3): new secret, handshake cleared, last-sent-handshake reset, sending on
    /// `current` and `next` invalid.
    pub fn identity_changed(&mut self, static_static: Option<SharedSecret>) {
        let _ = static_static;
        unimplemented!()
    }

    /// The interface went up: timers may run; flush; one keepalive if persistent keepalive is on.
    pub fn up(&mut self, now: Instant) {
        let _ = now;
        unimplemented!()
    }

    /// The interface went down, or the peer is being removed (section 14): staged purged, timers stopped, handshake
    /// and keypairs destroyed, last-sent-handshake reset. Timestamps, cookies, endpoint and counters stay.
    pub fn down(&mut self) {
        unimplemented!()
    }
}

/// Sending.
impl Peer {
    /// Takes `count` counters of the current keypair. `None`: there is no key to send with; keep the packets staged
    /// (a handshake was requested through `Output::Initiate`, with attempts reset, if 8.4 allows one).
    pub fn reserve(&mut self, now: Instant, count: u64) -> Option<SendGrant> {
        let _ = (now, count);
        unimplemented!()
    }

    /// Tells whether `keypair` is still in a slot: what was sealed with it may still leave (invariant 9).
    pub fn may_transmit(&self, keypair: &Keypair) -> bool {
        let _ = keypair;
        unimplemented!()
    }

    /// A batch of transport packets was handed to the socket: timers, keep-key-fresh (send), `tx_bytes`.
    pub fn on_sent(&mut self, now: Instant, rng: &mut impl Rng, sent: Sent) {
        let _ = (now, rng, sent);
        unimplemented!()
    }
}

/// Receiving.
impl Peer {
    /// Checks an authentic packet in arrival order: slot, age, replay window. Nothing else changes.
    pub fn accept(&mut self, now: Instant, index: Index, counter: u64) -> Result<(), DropReason> {
        let _ = (now, index, counter);
        unimplemented!()
    }

    /// At least one packet of a batch was accepted: roaming, key confirmation, keep-key-fresh (receive), timers.
    pub fn on_received(&mut self, now: Instant, wall: WallTime, rng: &mut impl Rng, received: Received) {
        let _ = (now, wall, rng, received);
        unimplemented!()
    }

    /// Counts `bytes` of UDP payload as received: keepalives, and data that was delivered.
    pub fn add_rx_bytes(&mut self, bytes: u64) {
        let _ = bytes;
        unimplemented!()
    }

    /// Consumes a cookie reply; false if it is not for the last mac1 we sent. No endpoint, timer or counter changes.
    pub fn on_cookie_reply(&mut self, now: Instant, reply: &[u8; COOKIE_REPLY_LEN]) -> bool {
        let _ = (now, reply);
        unimplemented!()
    }
}

/// Handshakes. The caller computes between the two halves of each pair, without the peer's lock.
impl Peer {
    /// Starts an initiation, asked for by `Output::Initiate`; `None` if 8.4 forbids one now (sent less than 5 s ago:
    /// the retransmit timer is re-armed for the rest; down; no endpoint; no identity).
    /// Stamps last-sent-handshake.
    pub fn begin_initiation(&mut self, now: Instant, wall: WallTime) -> Option<InitiationPlan> {
        let _ = (now, wall);
        unimplemented!()
    }

    /// Stores the pending initiation, fills in the MACs of `message`, arms the retransmit timer and runs the
    /// any-authenticated-packet-sent hooks. The caller then sends `message` to the returned endpoint, and reports its
    /// bytes with [`Peer::add_tx_bytes`] if the socket took it. On `Err` the caller frees the index itself.
    pub fn commit_initiation(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        epoch: Epoch,
        pending: PendingInitiation,
        message: &mut [u8],
    ) -> Result<Endpoint, Refusal> {
        let _ = (now, rng, epoch, pending, message);
        unimplemented!()
    }

    /// Accepts an authentic initiation (3.2): timestamp and flood checks, then commits them, moves the endpoint, counts
    /// 148 received bytes, runs the received hooks and drops an own pending initiation (its index is released).
    pub fn accept_initiation(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        timestamp: Timestamp,
        from: Endpoint,
    ) -> Result<Epoch, Refusal> {
        let _ = (now, rng, timestamp, from);
        unimplemented!()
    }

    /// Installs the responder's session in `next` before the response leaves (6.2), fills in the MACs of `message`,
    /// stamps last-sent-handshake, runs the sent hooks. On `Err` the caller frees the index itself.
    pub fn commit_response(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        epoch: Epoch,
        keys: SessionKeys,
        message: &mut [u8],
    ) -> Result<Endpoint, Refusal> {
        let _ = (now, rng, epoch, keys, message);
        unimplemented!()
    }

    /// Lends the pending initiation with `index` out for [`PendingInitiation::consume_response`]; `None` if there is
    /// no such one (any more).
    pub fn take_pending(&mut self, index: Index) -> Option<(PendingInitiation, Epoch)> {
        let _ = index;
        unimplemented!()
    }

    /// Puts a lent pending initiation back after a response that failed: the genuine one still works.
    pub fn restore_pending(&mut self, epoch: Epoch, pending: PendingInitiation) {
        let _ = (epoch, pending);
        unimplemented!()
    }

    /// Installs the initiator's session in `current` (6.2), handshake complete, moves the endpoint, counts 92 received
    /// bytes, and asks for a keepalive that confirms the key.
    pub fn commit_session(
        &mut self,
        now: Instant,
        wall: WallTime,
        rng: &mut impl Rng,
        epoch: Epoch,
        keys: SessionKeys,
        from: Endpoint,
    ) -> Result<(), Refusal> {
        let _ = (now, wall, rng, epoch, keys, from);
        unimplemented!()
    }

    /// Counts `bytes` of UDP payload as sent: initiations and responses.
    pub fn add_tx_bytes(&mut self, bytes: u64) {
        let _ = bytes;
        unimplemented!()
    }
}

/// Time and outputs.
impl Peer {
    /// Returns the earliest deadline, `None` if nothing is armed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Does what is due at `now`; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut impl Rng) {
        let _ = (now, rng);
        unimplemented!()
    }

    /// Returns the next thing the caller has to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }
}
