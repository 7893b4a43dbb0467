//! Where a peer can be reached: its candidates, and what is done when it is silent or the way to it is another one.
//!
//! What follows from any of it is an initiation at a moment at which the protocol allows one, a copy of one that was
//! sent, or a keepalive; never more than one initiation in REKEY_TIMEOUT.
//!
//! | what happened                          | what is done                                                          |
//! |----------------------------------------|-----------------------------------------------------------------------|
//! | an initiation goes unanswered          | the next candidate gets a copy; names are looked up when it is retried |
//! | data goes unanswered, as it never did  | an initiation after 1 s, and a copy of it each second                 |
//! | another way to the endpoint, or resume | in use: an initiation, and copies. Asked already: a copy of that      |
//! | the endpoint's name points elsewhere   | in use: an initiation. Asked already: a copy of it to where it points |
//!
//! A session goes on meanwhile: a handshake that is not needed costs a handshake and loses nothing.
//!
//! Not here: looking up names, looking at routes (the data plane and its caller do).

use std::net::SocketAddr;
use std::time::Duration;

use super::{Peer, Role};
use crate::proto::candidates::{Attempt, Order};
use crate::proto::endpoint::Endpoint;
use crate::proto::messages::INITIATION_LEN;
use crate::proto::time::Instant;
use crate::proto::timers::Timer;

/// Candidates.
impl Peer {
    /// Sets the addresses at which the peer may be. The first is the endpoint, if there is none. Without any, and none
    /// before, nothing changes. Returns where the peer is looked for first, if that is somewhere else than before.
    pub fn set_candidates(&mut self, now: Instant, addresses: Vec<SocketAddr>) -> Option<SocketAddr> {
        if addresses.is_empty() && self.candidates.is_none() {
            return None;
        }
        let candidates = self.candidates.get_or_insert_default();
        let was_withdrawn = candidates.is_withdrawn();
        candidates.set(addresses, self.endpoint.as_ref());
        let (first, is_withdrawn) = (candidates.first(), candidates.is_withdrawn());
        if self.endpoint.is_none() {
            if let Some(first) = first {
                self.endpoint = Some(Endpoint::configured(first));
                self.resume_sending();
            }
            return first;
        }
        if self.attempt.is_some() && self.timers.is_armed(Timer::Retransmit) {
            self.widen_attempt(now);
        } else if is_withdrawn && self.is_in_use(now) {
            self.request_handshake(now);
        }
        first.filter(|_| is_withdrawn && !was_withdrawn)
    }

    /// Sets which candidate is preferred.
    pub fn set_order(&mut self, order: Order) {
        if order != Order::default() || self.candidates.is_some() {
            self.candidates.get_or_insert_default().set_order(order);
        }
    }

    /// Takes all candidates away; the endpoint stays.
    pub fn forget_candidates(&mut self) {
        self.candidates = None;
    }

    /// No datagram could be sent to the candidate that was to be asked last: the next one is asked at once.
    pub fn candidate_is_unreachable(&mut self, now: Instant) {
        if self.timers.is_armed(Timer::NextCandidate) {
            self.timers.ask_next_candidate(Some(now));
        }
    }

    /// Takes note of an initiation that is being sent; returns where to.
    pub(super) fn begin_attempt(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
        message: &[u8; INITIATION_LEN],
    ) -> Endpoint {
        let is_urgent = std::mem::take(&mut self.is_urgent);
        let (round, spacing) = match &mut self.candidates {
            Some(candidates) => {
                let round = candidates.next_round(endpoint.remote);
                let spacing = candidates.spacing(round.len());
                (round, spacing)
            }
            None => (vec![endpoint.remote], Duration::ZERO),
        };
        let attempt = Attempt::new(*message, &round, is_urgent);
        self.timers.ask_next_candidate(attempt.pause(spacing).map(|pause| now.plus(pause)));
        self.attempt = Some(Box::new(attempt));
        self.way_to(round[0])
    }

    /// Sends the pending initiation to the next candidate; not if another is due: after a jump of the clock, both are.
    pub(super) fn ask_next_candidate(&mut self, now: Instant) {
        if self.timers.may_initiate(now) {
            return;
        }
        let (Some(attempt), Some(endpoint)) = (&mut self.attempt, &self.endpoint) else { return };
        let round = || match &self.candidates {
            Some(candidates) => candidates.round(endpoint.remote),
            None => vec![endpoint.remote],
        };
        attempt.repeat(round);
        let Some(next) = attempt.next() else { return };
        let spacing = self.candidates.as_ref().map_or(Duration::ZERO, |candidates| candidates.spacing(round().len()));
        self.timers.ask_next_candidate(attempt.pause(spacing).map(|pause| now.plus(pause)));
        let message = Box::new(attempt.message);
        self.outputs.initiation = Some((self.way_to(next), message));
    }

    /// A message of a handshake was accepted, and its source is the endpoint.
    pub(super) fn heard_handshake(&mut self) {
        if let Some(candidates) = &mut self.candidates {
            candidates.heard();
        }
        self.end_attempt();
    }

    /// No answer to an initiation is waited for.
    pub(super) fn end_attempt(&mut self) {
        self.attempt = None;
        self.outputs.initiation = None;
        self.timers.ask_next_candidate(None);
    }

    /// The list is another one while an initiation is not answered: who was not asked is asked now.
    fn widen_attempt(&mut self, now: Instant) {
        let (Some(candidates), Some(attempt), Some(endpoint)) = (&self.candidates, &mut self.attempt, &self.endpoint)
        else {
            return;
        };
        let was_going_on = self.timers.is_armed(Timer::NextCandidate);
        let goes_on = attempt.widen(candidates.round(endpoint.remote));
        if !goes_on {
            self.timers.ask_next_candidate(None);
        } else if !was_going_on {
            self.timers.ask_next_candidate(Some(now));
        }
    }

    fn way_to(&self, remote: SocketAddr) -> Endpoint {
        self.endpoint.filter(|endpoint| endpoint.remote == remote).unwrap_or(Endpoint::configured(remote))
    }

    /// Asks for the names of the peer, if it may have any.
    pub(super) fn look_up(&mut self) {
        self.outputs.look_up |= self.candidates.is_some();
    }
}

/// Silence, and other ways.
impl Peer {
    /// The first packet after one that was received: the peer has been answering, so what is sent now is to be answered,
    /// too. Asked by the initiator alone: if both did, they would collide.
    pub(super) fn expect_answers(&mut self, now: Instant) {
        if self.sessions.current.as_ref().is_some_and(|current| current.keypair.role == Role::Initiator) {
            self.unanswered_from = None;
            self.timers.expect_answers(now);
        }
    }

    /// Nothing came for half a second. If that is so for another half, and packets are sent in it too, somebody waits for
    /// an answer: asks for a handshake. The last acknowledgements of a conversation all leave at its end.
    pub(super) fn ask_silent_peer(&mut self, now: Instant) {
        let Some(next) = self.sessions.current.as_ref().map(|current| current.next_counter) else { return };
        match self.unanswered_from {
            None => {
                self.unanswered_from = Some(next);
                self.timers.expect_answers(now);
            }
            Some(from) if next > from => {
                self.clear_source();
                self.look_up();
                if self.timers.may_initiate(now) {
                    self.is_urgent = true;
                    self.request_handshake(now);
                } else {
                    // Unless it answers until then.
                    self.timers.expect_answers_until_allowed();
                }
            }
            Some(_) => {}
        }
    }

    /// Datagrams to the endpoint leave by another interface or from another address than they did, or the machine was
    /// asleep: what is known of the way is forgotten, and the peer is told of us before it has anything to send, if it
    /// may have.
    ///
    /// The initiation tells it, and its answer tells whether the way leads anywhere.
    pub fn way_changed(&mut self, now: Instant) {
        self.clear_source();
        if self.attempt.is_some() && self.timers.is_armed(Timer::Retransmit) {
            self.repeat_attempt(now);
        } else if self.is_in_use(now) && self.can_initiate() {
            if self.timers.may_initiate(now) {
                self.is_urgent = true;
                self.request_handshake(now);
            } else {
                // A handshake was made just now; anything authentic makes the peer follow.
                self.request_keepalive();
            }
        }
    }

    /// There was no way to the endpoint, and is one again, the same as before: what is not answered is sent again.
    pub fn way_is_back(&mut self, now: Instant) {
        if self.timers.is_armed(Timer::Retransmit) {
            self.repeat_attempt(now);
        }
    }

    /// Sends the pending initiation again, to each address of its round.
    fn repeat_attempt(&mut self, now: Instant) {
        let (Some(attempt), Some(endpoint)) = (&mut self.attempt, &self.endpoint) else { return };
        attempt.restart(match &self.candidates {
            Some(candidates) => candidates.round(endpoint.remote),
            None => vec![endpoint.remote],
        });
        self.timers.ask_next_candidate(Some(now));
    }

    /// Tells whether packets went or came lately, or the way is to be kept open.
    ///
    /// Lately means within 10 or 15 s: what was sent is not answered, or what was received not.
    fn is_in_use(&self, now: Instant) -> bool {
        let is_waiting = self.timers.is_armed(Timer::NewHandshake) || self.timers.is_armed(Timer::PassiveKeepalive);
        self.timers.persistent_interval() > 0 || (is_waiting && self.sessions.can_send(now))
    }
}
