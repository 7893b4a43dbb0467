//! One peer's state machine: sessions, timers, handshake slot, endpoint, byte counters.
//!
//! One mutation, then drain: after any `&mut self` call the caller takes every [`Output`] with
//! [`Peer::poll_output`] and compares [`Peer::poll_timeout`] with the deadline it has scheduled.
//!
//! ```text
//!   Peer --+-- reach       where it may be: candidates, and what follows from silence and from other ways
//!          +-- sessions    previous, current, next: who may send and receive with which key
//!          +-- handshakes  our pending initiation, and the epoch that voids work in flight
//!          +-- timers      seven deadlines, attempts, the last-sent-handshake stamp
//!          +-- presence    whether the peer is heard, for who watches
//!          +-- output      what the caller is asked to do
//! ```
//!
//! Not here: Diffie-Hellman (see `handshake`: it runs without the peer's lock, between a `begin_*` or `take_*` call and
//! a `commit_*` call, which re-checks that nothing intervened), staged packets (the caller keeps them, told by outputs).
//!
//! Locking: none inside. The caller holds the peer's lock for one call and its drain.
//!
//! Source: whitepaper section 6; kernel `timers.c`, `noise.c`, `send.c`, `receive.c`.

mod endpoint;
mod handover;
mod handshakes;
mod output;
mod presence;
mod reach;
mod sessions;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

pub use self::handover::{CarriedPeer, SKIPPED_COUNTERS};
use self::handshakes::Handshake;
pub use self::handshakes::{Epoch, InitiationPlan, Refusal};
pub use self::output::Output;
use self::output::Outputs;
use self::presence::Presence;
use self::sessions::Sessions;
pub use self::values::{DropReason, PeerStatus, Received, SendGrant, Sent};
use super::candidates::{Attempt, Candidates, Order};
use super::constants::{KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME, REKEY_TIMEOUT};
use super::cookie::CookieJar;
use super::endpoint::Endpoint;
use super::index::Index;
use super::keypair::{Keypair, Role};
use super::keys::{PresharedKey, PublicKey, SharedSecret};
use super::messages::COOKIE_REPLY_LEN;
use super::time::{Instant, WallTime};
use super::timers::{Timer, Timers, jitter};
use super::timestamp::Timestamp;

/// One peer. Without a session it takes about 650 bytes.
pub struct Peer {
    public_key: PublicKey,
    static_static: Option<SharedSecret>,
    preshared_key: PresharedKey,
    is_up: bool,
    endpoint: Option<Endpoint>,
    /// Other addresses than the endpoint, if any were ever given.
    candidates: Option<Box<Candidates>>,
    /// The initiation that was sent last, while it may be answered.
    attempt: Option<Box<Attempt>>,
    /// The next initiation is for a peer that answered a moment ago.
    is_urgent: bool,
    /// The next counter half a second after the first packet that was not answered; `None` before.
    unanswered_from: Option<u64>,
    sessions: Sessions,
    handshake: Handshake,
    /// The index of our own initiation, if the one that is being answered found it pending.
    crossed: Option<Index>,
    epoch: Epoch,
    timers: Timers,
    presence: Presence,
    cookies: CookieJar,
    /// The newest timestamp we sent: the next is greater, whatever the wall clock does.
    emitted_timestamp: Option<Timestamp>,
    /// The greatest timestamp accepted; all zero, less than any real one, until there is one.
    accepted_timestamp: Timestamp,
    accepted_initiation_at: Option<Instant>,
    last_handshake: Option<WallTime>,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_packets: u64,
    tx_packets: u64,
    outputs: Outputs,
}

/// Configuration and life.
impl Peer {
    /// Makes a peer that is down, without endpoint, with `static_static` as computed from our identity (`None`
    /// without identity or for a low-order key).
    pub fn new(public_key: PublicKey, static_static: Option<SharedSecret>) -> Self {
        Self {
            public_key,
            static_static,
            preshared_key: PresharedKey::default(),
            is_up: false,
            endpoint: None,
            candidates: None,
            attempt: None,
            is_urgent: false,
            unanswered_from: None,
            sessions: Sessions::default(),
            handshake: Handshake::default(),
            crossed: None,
            epoch: Epoch::default(),
            timers: Timers::default(),
            presence: Presence::default(),
            cookies: CookieJar::new(&public_key),
            emitted_timestamp: None,
            accepted_timestamp: Timestamp::default(),
            accepted_initiation_at: None,
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_packets: 0,
            tx_packets: 0,
            outputs: Outputs::default(),
        }
    }

    /// Returns the peer's static public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns what `show` shows.
    pub fn status(&self) -> PeerStatus {
        PeerStatus {
            endpoint: self.endpoint,
            order: self.candidates.as_ref().map_or(Order::default(), |candidates| candidates.order()),
            last_handshake: self.last_handshake,
            rx_bytes: self.rx_bytes,
            tx_bytes: self.tx_bytes,
            rx_packets: self.rx_packets,
            tx_packets: self.tx_packets,
            persistent_keepalive: self.timers.persistent_interval(),
            preshared_key: self.preshared_key.clone(),
        }
    }

    /// Returns the static-static secret, `None` without identity or for a low-order key.
    pub fn static_static(&self) -> Option<&SharedSecret> {
        self.static_static.as_ref()
    }

    /// Sets the preshared key, for the next handshake. The session and a pending initiation go on with the old one.
    pub fn set_preshared_key(&mut self, key: PresharedKey) {
        self.preshared_key = key;
    }

    /// Returns the preshared key.
    pub fn preshared_key(&self) -> &PresharedKey {
        &self.preshared_key
    }

    /// Sets the persistent keepalive interval in seconds. From 0 to more on an up interface asks for one at once; from
    /// one interval to another takes effect when the timer is next armed.
    pub fn set_persistent_keepalive(&mut self, now: Instant, secs: u16) {
        let was_off = self.timers.persistent_interval() == 0;
        self.timers.set_persistent_interval(secs);
        if was_off {
            self.start_persistent_keepalive(now);
        }
    }

    /// Our private key changed: new secret, handshake cleared, last-sent-handshake reset, sending on `current` and
    /// `next` invalid. Both ends can start a handshake at once. An identity where there was none asks for what could
    /// not be sent without one.
    pub fn identity_changed(&mut self, static_static: Option<SharedSecret>) {
        let had_none = self.static_static.is_none();
        self.static_static = static_static;
        self.clear_handshake();
        self.timers.forget_last_sent_handshake();
        self.sessions.invalidate_sending();
        if had_none {
            self.resume_sending();
        }
    }

    /// The interface went up: timers may run; flush; one keepalive if persistent keepalive is on.
    pub fn up(&mut self, now: Instant) {
        if self.is_up {
            return;
        }
        self.is_up = true;
        self.outputs.flush = true;
        self.start_persistent_keepalive(now);
    }

    /// The interface went down, or the peer is being removed: staged packets purged, timers stopped, handshake and
    /// keypairs destroyed, last-sent-handshake reset. Timestamps, cookies, endpoint, byte counters and the time of the
    /// last handshake stay.
    pub fn down(&mut self) {
        self.is_up = false;
        self.outputs.cancel_sending();
        self.timers.stop();
        self.presence.forget();
        self.erase_keys();
    }
}

/// Sending.
impl Peer {
    /// Takes `count` counters of the current keypair. `None`: there is no key to send with; keep the packets staged
    /// (a handshake was requested through [`Output::Initiate`], with attempts reset, if one may start now).
    ///
    /// Counters that would reach the limit end the session for sending, so that none is ever used twice.
    pub fn reserve(&mut self, now: Instant, count: u64) -> Option<SendGrant> {
        if let Some(current) = &mut self.sessions.current
            && let Some(first_counter) = current.take_counters(now, count)
        {
            return Some(SendGrant { keypair: Arc::clone(&current.keypair), first_counter });
        }
        self.request_handshake(now);
        None
    }

    /// Tells whether `keypair` is still in a slot: what was sealed with it may still leave. After [`Peer::down`]
    /// nothing may.
    pub fn may_transmit(&self, keypair: &Keypair) -> bool {
        self.sessions.contains(keypair)
    }

    /// A batch of transport packets was handed to the socket, whether it took them or not: timers, keep-key-fresh
    /// (send), what was sent.
    pub fn on_sent(&mut self, now: Instant, rng: &mut impl Rng, sent: Sent) {
        self.add_sent(sent.bytes, sent.packets);
        if !self.is_up {
            return;
        }
        let is_conversation = self.timers.is_armed(Timer::PassiveKeepalive);
        self.timers.authenticated_packet_sent(now);
        if sent.data && self.timers.data_sent(now, rng) && is_conversation {
            self.expect_answers(now);
        }
        self.keep_key_fresh_after_sending(now);
    }

    /// Counts `packets` with `bytes` of UDP payload as sent: initiations and responses.
    pub fn add_sent(&mut self, bytes: u64, packets: u64) {
        self.tx_bytes = self.tx_bytes.wrapping_add(bytes);
        self.tx_packets = self.tx_packets.wrapping_add(packets);
    }

    fn keep_key_fresh_after_sending(&mut self, now: Instant) {
        let is_stale = self.sessions.current.as_ref().is_some_and(|current| {
            // Only the initiator looks at the age: if both did, they would collide every two minutes.
            let is_old =
                current.keypair.role == Role::Initiator && now.since(current.keypair.birth) >= REKEY_AFTER_TIME;
            current.may_send && (is_old || current.next_counter > REKEY_AFTER_MESSAGES)
        });
        if is_stale {
            self.request_handshake(now);
        }
    }
}

/// Receiving.
impl Peer {
    /// Checks an authentic packet in arrival order: slot, age, replay window. Nothing else changes.
    ///
    /// # Errors
    /// `Expired` if its keypair is in no slot or is 180 s old; `Replayed` if the counter was seen before, is behind
    /// the window, or is at or beyond the limit (which does not move the window).
    pub fn accept(&mut self, now: Instant, index: Index, counter: u64) -> Result<(), DropReason> {
        match self.sessions.by_index(index) {
            Some(session) if !session.is_dead(now) => {
                if session.accept(counter) {
                    Ok(())
                } else {
                    Err(DropReason::Replayed)
                }
            }
            _ => Err(DropReason::Expired),
        }
    }

    /// At least one packet of a batch was accepted: roaming, key confirmation, keep-key-fresh (receive), timers.
    /// Nothing happens if the keypair left its slot meanwhile.
    pub fn on_received(&mut self, now: Instant, wall: WallTime, _rng: &mut impl Rng, received: Received) {
        if self.sessions.by_index(received.index).is_none() {
            return;
        }
        self.heard(now, received.from);
        if self.sessions.confirm(received.index, &mut self.outputs) {
            self.handshake_complete(now, wall);
            self.outputs.flush = true;
        }
        self.keep_key_fresh_after_receiving(now);
        self.timers.authenticated_packet_received(now);
        if received.data {
            self.timers.data_received(now);
        }
    }

    /// Counts `packets` with `bytes` of UDP payload as received: keepalives, and data that was delivered.
    pub fn add_received(&mut self, bytes: u64, packets: u64) {
        self.rx_bytes = self.rx_bytes.wrapping_add(bytes);
        self.rx_packets = self.rx_packets.wrapping_add(packets);
    }

    /// Consumes a cookie reply; false if it is not for the last mac1 we sent. No endpoint, timer or counter changes:
    /// the cookie is used by the next regular retry.
    pub fn on_cookie_reply(&mut self, now: Instant, reply: &[u8; COOKIE_REPLY_LEN]) -> bool {
        self.cookies.consume_reply(now, reply)
    }

    fn keep_key_fresh_after_receiving(&mut self, now: Instant) {
        // Old enough that a passive keepalive, sent 10 s from now and lost, would leave no time for a handshake.
        let last_minute = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        let is_dying = self.sessions.current.as_ref().is_some_and(|current| {
            current.may_send
                && current.keypair.role == Role::Initiator
                && now.since(current.keypair.birth) >= last_minute
        });
        if is_dying && self.timers.take_last_minute() {
            self.request_handshake(now);
        }
    }
}

/// Time and outputs.
impl Peer {
    /// Returns the earliest deadline, `None` if nothing is armed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.timers.next_deadline(), self.presence.deadline()) {
            (Some(timer), Some(presence)) => Some(timer.min(presence)),
            (timer, presence) => timer.or(presence),
        }
    }

    /// Does what is due at `now`; early and repeated calls do nothing. Each timer runs at most once per call, however
    /// far the clock jumped.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut impl Rng) {
        if self.timers.take_expired(Timer::Retransmit, now) {
            self.retry_handshake(now, rng);
        }
        if self.timers.take_expired(Timer::PassiveKeepalive, now) {
            self.request_keepalive();
            self.timers.passive_keepalive_expired(now);
        }
        if self.timers.take_expired(Timer::NewHandshake, now) {
            self.clear_source();
            self.look_up();
            self.request_handshake(now);
        }
        if self.timers.take_expired(Timer::ZeroKeys, now) {
            self.erase_keys();
        }
        if self.timers.take_expired(Timer::PersistentKeepalive, now) {
            self.start_persistent_keepalive(now);
        }
        if self.timers.take_expired(Timer::Silence, now) {
            self.ask_silent_peer(now);
        }
        if self.timers.take_expired(Timer::NextCandidate, now) {
            self.ask_next_candidate(now);
        }
        self.outputs.silent |= self.presence.fell_silent(now);
    }

    /// Returns the next thing the caller has to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.next()
    }
}

/// What several events lead to.
impl Peer {
    /// Asks for a handshake that is not a retry; counting attempts starts again even if none may be sent now.
    fn request_handshake(&mut self, now: Instant) {
        self.timers.handshake_requested();
        if !self.can_initiate() {
            return;
        }
        if self.timers.may_initiate(now) {
            self.outputs.initiate = true;
        } else {
            self.retry_when_allowed(now);
        }
    }

    /// No response came in time: asks for the next initiation, or gives up.
    fn retry_handshake(&mut self, now: Instant, rng: &mut impl Rng) {
        if self.timers.attempts_exhausted() {
            self.timers.handshake_given_up(now);
            self.end_attempt();
            self.outputs.purge = true;
            self.outputs.gave_up = true;
            return;
        }
        if !self.can_initiate() {
            return;
        }
        if !self.timers.may_initiate(now) {
            // A response was sent after the initiation. The kernel's timer dies here; ours waits for the rest.
            self.timers.initiation_suppressed(jitter(rng));
            return;
        }
        self.timers.handshake_retried();
        self.timers.await_response(now, rng);
        self.clear_source();
        self.look_up();
        self.outputs.initiate = true;
    }

    /// An initiation was refused because one or a response was sent less than 5 s ago. Without a key, and without a
    /// retry on its way, staged packets would wait for the next packet to ask again: ask when it is allowed.
    fn retry_when_allowed(&mut self, now: Instant) {
        if !self.sessions.can_send(now) && !self.timers.is_armed(Timer::Retransmit) {
            self.timers.initiation_suppressed(Duration::ZERO);
        }
    }

    /// Asks for a keepalive, if it or the handshake for it could be sent.
    fn request_keepalive(&mut self) {
        self.outputs.keepalive |= self.can_initiate();
    }

    /// Asks for a persistent keepalive, if the interval is set, and arms the next one: should this one not leave,
    /// because an initiation was sent just now, the next will.
    fn start_persistent_keepalive(&mut self, now: Instant) {
        if self.timers.persistent_interval() > 0 && self.can_initiate() {
            self.outputs.keepalive = true;
            self.timers.rearm_persistent_keepalive(now);
        }
    }

    /// The first endpoint or identity came: what is staged can start a handshake now.
    fn resume_sending(&mut self) {
        if self.can_initiate() {
            self.outputs.flush = true;
            self.outputs.keepalive |= self.timers.persistent_interval() > 0;
        }
    }

    /// Erases all key material. Whoever computes with it is voided.
    fn erase_keys(&mut self) {
        self.clear_handshake();
        self.sessions.clear(&mut self.outputs);
    }
}
