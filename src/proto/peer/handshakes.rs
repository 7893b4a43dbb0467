//! The handshake slot of a peer: what is pending, and the two halves of each step.
//!
//! Diffie-Hellman takes a hundred microseconds and runs without the peer's lock. So each step has a half before it
//! (`begin_initiation`, `accept_initiation`, `take_pending`), which hands out an [`Epoch`], and a half after it
//! (`commit_*`), which is refused if the epoch moved on: then something intervened that makes the result worthless.
//!
//! ```text
//!            commit_initiation            take_pending
//!   Nothing ------------------> Pending ----------------> Lent
//!      ^                         |   ^   restore_pending    |
//!      |   accept_initiation,    |   +----------------------+
//!      +---- clear <-------------+                          |
//!      +---- commit_session, accept_initiation, clear <-----+
//! ```
//!
//! There is no state for an initiation that was accepted and is being answered: the epoch that `accept_initiation`
//! returns stands for it.
//!
//! Source: whitepaper sections 5.4 and 6.4; the kernel driver's `noise.c` and `receive.c`.

use std::sync::Arc;

use rand::Rng;

use super::Peer;
use crate::proto::constants::INITIATION_SPACING;
use crate::proto::endpoint::Endpoint;
use crate::proto::handshake::PendingInitiation;
use crate::proto::index::Index;
use crate::proto::keypair::{Keypair, Role, SessionKeys};
use crate::proto::keys::{PresharedKey, PublicKey, SharedSecret};
use crate::proto::messages::{INITIATION_LEN, RESPONSE_LEN};
use crate::proto::time::{Instant, WallTime};
use crate::proto::timestamp::Timestamp;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// Voids all work in flight. It would take centuries of handshakes to come round.
    pub(super) fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

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

/// What became of our own initiation. Boxed: most peers have none most of the time.
#[derive(Default)]
pub(super) enum Handshake {
    /// There is none.
    #[default]
    Nothing,
    /// Waits for its response.
    Pending(Box<PendingInitiation>),
    /// A response to it is being computed; its index is still ours to release.
    Lent(Index),
}

impl Handshake {
    /// Returns the index it holds.
    fn index(&self) -> Option<Index> {
        match self {
            Self::Nothing => None,
            Self::Pending(pending) => Some(pending.index),
            Self::Lent(index) => Some(*index),
        }
    }

    /// Ends it; returns the index to release.
    pub(super) fn take_index(&mut self) -> Option<Index> {
        let index = self.index();
        *self = Self::Nothing;
        index
    }
}

/// Initiating.
impl Peer {
    /// Starts an initiation, asked for by [`super::Output::Initiate`]. `None` if none may be sent now: the interface is down,
    /// there is no endpoint or no identity, or the last initiation or response is less than 5 s old (then the
    /// retransmit timer tries again, unless there is a session to send with).
    ///
    /// Stamps last-sent-handshake; the timestamp counts as emitted even if the plan is dropped.
    pub fn begin_initiation(&mut self, now: Instant, wall: WallTime) -> Option<InitiationPlan> {
        if !self.can_initiate() {
            return None;
        }
        if !self.timers.may_initiate(now) {
            self.retry_when_allowed(now);
            return None;
        }
        let static_static = self.static_static.clone()?;
        self.timers.initiation_begun(now);
        let timestamp = Timestamp::after(self.emitted_timestamp, wall);
        self.emitted_timestamp = Some(timestamp);
        Some(InitiationPlan {
            public_key: self.public_key,
            static_static,
            preshared_key: self.preshared_key.clone(),
            timestamp,
            epoch: self.epoch,
        })
    }

    /// Stores the pending initiation, fills in the MACs of `message`, arms the retransmit timer and runs the
    /// any-authenticated-packet-sent hooks. An older pending initiation is dropped and its index released. Candidates
    /// other than the returned endpoint are asked later, through [`super::Output::SendInitiation`].
    ///
    /// The caller then sends `message` to the returned endpoint, and reports its bytes with [`Peer::add_sent`] if
    /// the socket took it.
    ///
    /// # Errors
    /// `Overtaken`: nothing changed; the caller frees the index itself.
    pub fn commit_initiation(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        epoch: Epoch,
        pending: PendingInitiation,
        message: &mut [u8; INITIATION_LEN],
    ) -> Result<Endpoint, Refusal> {
        let endpoint = self.endpoint_if_current(epoch)?;
        self.clear_handshake();
        self.handshake = Handshake::Pending(Box::new(pending));
        self.cookies.add_macs(now, message);
        self.timers.authenticated_packet_sent(now);
        self.timers.handshake_stamped(now);
        self.timers.await_response(now, rng);
        Ok(self.begin_attempt(now, endpoint, message))
    }

    /// Lends the pending initiation with `index` out for [`PendingInitiation::consume_response`]; `None` if there is
    /// no such one (any more), or if it is lent already. It comes back by [`Peer::restore_pending`] or ends in
    /// [`Peer::commit_session`].
    pub fn take_pending(&mut self, index: Index) -> Option<(PendingInitiation, Epoch)> {
        match std::mem::take(&mut self.handshake) {
            Handshake::Pending(pending) if pending.index == index => {
                self.handshake = Handshake::Lent(index);
                Some((*pending, self.epoch))
            }
            other => {
                self.handshake = other;
                None
            }
        }
    }

    /// Puts a lent pending initiation back after a response that failed: the genuine one still works. If something
    /// intervened it is dropped; its index was released by what did.
    pub fn restore_pending(&mut self, epoch: Epoch, pending: PendingInitiation) {
        if epoch == self.epoch && matches!(self.handshake, Handshake::Lent(index) if index == pending.index) {
            self.handshake = Handshake::Pending(Box::new(pending));
        }
    }

    /// Installs the initiator's session in `current`, completes the handshake, moves the endpoint, counts 92 received
    /// bytes, and asks for a keepalive that confirms the key. The pending initiation's index becomes the session's.
    ///
    /// # Errors
    /// `Overtaken`: nothing changed; the index was released by what intervened.
    pub fn commit_session(
        &mut self,
        now: Instant,
        wall: WallTime,
        _rng: &mut impl Rng,
        epoch: Epoch,
        keys: SessionKeys,
        from: Endpoint,
    ) -> Result<(), Refusal> {
        debug_assert_eq!(keys.role, Role::Initiator);
        self.endpoint_if_current(epoch)?;
        if !matches!(self.handshake, Handshake::Lent(index) if index == keys.local) {
            return Err(Refusal::Overtaken);
        }
        self.handshake = Handshake::Nothing;
        self.epoch.advance();
        self.heard(now, from);
        self.heard_handshake();
        self.sessions.install_as_initiator(Arc::new(Keypair::new(&keys, now)), &mut self.outputs);
        self.timers.session_derived(now);
        self.handshake_complete(now, wall);
        self.outputs.keepalive = true;
        self.add_received(RESPONSE_LEN as u64, 1);
        self.timers.authenticated_packet_received(now);
        Ok(())
    }
}

/// Responding.
impl Peer {
    /// Returns the greatest timestamp accepted from the peer; all zero if there is none yet.
    pub fn accepted_timestamp(&self) -> Timestamp {
        self.accepted_timestamp
    }

    /// Accepts an authentic initiation: timestamp and flood checks, then commits them, moves the endpoint, counts 148
    /// received bytes, runs the received hooks and drops an own pending initiation (its index is released).
    ///
    /// # Errors
    /// `ReplayedTimestamp`, `Flood`, or `Overtaken` while the interface is down or without identity: nothing changed.
    pub fn accept_initiation(
        &mut self,
        now: Instant,
        _rng: &mut impl Rng,
        timestamp: Timestamp,
        from: Endpoint,
    ) -> Result<Epoch, Refusal> {
        if !self.is_up || self.static_static.is_none() {
            return Err(Refusal::Overtaken);
        }
        if timestamp <= self.accepted_timestamp {
            return Err(Refusal::ReplayedTimestamp);
        }
        if self.accepted_initiation_at.is_some_and(|last| now.since(last) < INITIATION_SPACING) {
            return Err(Refusal::Flood);
        }
        self.crossed = self.handshake.index();
        self.clear_handshake();
        self.accepted_timestamp = timestamp;
        self.accepted_initiation_at = Some(now);
        self.heard(now, from);
        self.heard_handshake();
        self.add_received(INITIATION_LEN as u64, 1);
        self.timers.authenticated_packet_received(now);
        Ok(self.epoch)
    }

    /// Installs the responder's session in `next` before the response leaves, fills in the MACs of `message`, stamps
    /// last-sent-handshake, runs the sent hooks. The caller then sends `message` as after an initiation.
    ///
    /// # Errors
    /// `Overtaken`: nothing changed; the caller frees the index itself.
    pub fn commit_response(
        &mut self,
        now: Instant,
        _rng: &mut impl Rng,
        epoch: Epoch,
        keys: SessionKeys,
        message: &mut [u8],
    ) -> Result<Endpoint, Refusal> {
        debug_assert_eq!(keys.role, Role::Responder);
        let endpoint = self.endpoint_if_current(epoch)?;
        self.clear_handshake();
        self.sessions.install_as_responder(Arc::new(Keypair::new(&keys, now)), &mut self.outputs);
        self.timers.session_derived(now);
        self.cookies.add_macs(now, message);
        self.timers.authenticated_packet_sent(now);
        self.timers.handshake_stamped(now);
        // Both ends know both indices, and they are drawn anew each time: of two that cross, one is held back.
        if self.crossed.take().is_some_and(|own| own > keys.remote) {
            self.timers.leave_it_to_the_peer();
        }
        Ok(endpoint)
    }
}

/// Helpers of this file and of `peer`.
impl Peer {
    /// Tells whether an initiation could be made and sent at all. If not, nothing is computed and nothing is armed.
    pub(super) fn can_initiate(&self) -> bool {
        self.is_up && self.endpoint.is_some() && self.static_static.is_some()
    }

    /// Drops our own initiation and voids every computation in flight.
    pub(super) fn clear_handshake(&mut self) {
        self.epoch.advance();
        self.end_attempt();
        if let Some(index) = self.handshake.take_index() {
            self.outputs.release(index);
        }
    }

    /// The session in `current` is confirmed by both sides.
    pub(super) fn handshake_complete(&mut self, now: Instant, wall: WallTime) {
        self.timers.handshake_complete();
        self.outputs.connected |= self.presence.confirmed(now);
        self.last_handshake = Some(wall);
        self.outputs.complete = true;
    }

    /// Returns where to send what was computed since `epoch`. The epoch moves on when the interface goes down, so this
    /// covers that too.
    fn endpoint_if_current(&self, epoch: Epoch) -> Result<Endpoint, Refusal> {
        self.endpoint.filter(|_| epoch == self.epoch).ok_or(Refusal::Overtaken)
    }
}
