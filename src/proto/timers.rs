//! The timers of a peer and the stamp that spaces initiations: told what happened, answering what is due.
//!
//! | timer              | armed by                                   | cancelled by                    |
//! |--------------------|--------------------------------------------|---------------------------------|
//! | retransmit         | initiation sent: 5 s + jitter              | handshake complete              |
//! | passive keepalive  | data received: 10 s, if idle               | anything authenticated sent     |
//! | new handshake      | data sent: 15 s + jitter, if idle          | anything authenticated received |
//! | zero keys          | session derived: 540 s; gave up, if idle   | -                               |
//! | persistent keepalive | anything authenticated sent or received  | interval set to 0               |
//! | silence            | data sent in a conversation: twice 500 ms  | anything authenticated received |
//! | next candidate     | initiation sent: see `candidates`          | response, or a later initiation |
//!
//! The first five are the protocol's. The last two are this implementation's, and lead to nothing that the protocol
//! does not allow at that moment.
//!
//! Functions are named after what happened, and are called in the order in which `peer` calls them. A timer is only a
//! deadline: nothing runs by itself.
//!
//! Not here: what is done on expiry (see `peer`), and who wakes up for a deadline (the data plane).
//!
//! Source: whitepaper section 6; the kernel driver's `timers.c`.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::carried::{Carried, Malformed, Reader, Writer};
use super::constants::{
    HELD_BACK, KEEPALIVE_TIMEOUT, MAX_JITTER, MAX_TIMER_HANDSHAKES, REKEY_TIMEOUT, SILENCE, ZERO_KEYS_AFTER,
};
use super::time::Instant;

/// The name of a timer, and its place in the array of deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// No response came: send another initiation, or give up.
    Retransmit,
    /// Data came and nothing went back: send a keepalive.
    PassiveKeepalive,
    /// Data went out and nothing came back: the peer may have lost its keys.
    NewHandshake,
    /// The newest session is three lifetimes old: erase all key material.
    ZeroKeys,
    /// The configured interval passed without traffic.
    PersistentKeepalive,
    /// A peer that used to answer does not any more.
    Silence,
    /// The next address is to be asked with the pending initiation.
    NextCandidate,
}

const TIMERS: usize = 7;

/// The deadlines, the attempts and the stamp of one peer.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: [Option<Instant>; TIMERS],
    /// Retries since the last request that was not one.
    attempts: u32,
    /// Data came while the passive keepalive was already pending.
    another_keepalive: bool,
    /// The initiation for a session about to die was sent; once per session is enough.
    last_minute_handshake: bool,
    /// Seconds; 0 is off.
    persistent_interval: u16,
    /// When the last initiation or response was sent; `None` stands for "long ago".
    last_sent_handshake: Option<Instant>,
    /// It was a response to an initiation that crossed ours: see [`Timers::leave_it_to_the_peer`].
    is_held_back: bool,
}

/// What happened.
impl Timers {
    /// An initiation, response, keepalive or data packet is about to be sent.
    pub(crate) fn authenticated_packet_sent(&mut self, now: Instant) {
        self.rearm_persistent_keepalive(now);
        // `another_keepalive` stays: data that came meanwhile is a reason of its own.
        self.cancel(Timer::PassiveKeepalive);
    }

    /// An initiation, response, keepalive or data packet was received, authentic and not replayed.
    pub(crate) fn authenticated_packet_received(&mut self, now: Instant) {
        self.cancel(Timer::NewHandshake);
        self.cancel(Timer::Silence);
        self.rearm_persistent_keepalive(now);
    }

    /// A packet that is not a keepalive was accepted by the socket. Tells whether it is the first since something was
    /// received.
    pub(crate) fn data_sent(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        let is_first = !self.is_armed(Timer::NewHandshake);
        if is_first {
            self.arm(Timer::NewHandshake, now.plus(KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter(rng)));
        }
        is_first
    }

    /// What is sent from now on should be answered soon.
    pub(crate) fn expect_answers(&mut self, now: Instant) {
        self.arm(Timer::Silence, now.plus(SILENCE));
    }

    /// The same, up to when an initiation may be sent.
    pub(crate) fn expect_answers_until_allowed(&mut self) {
        self.arm(Timer::Silence, self.allowed_from());
    }

    /// The next candidate is to be asked at `when`, `None`: there is no other.
    pub(crate) fn ask_next_candidate(&mut self, when: Option<Instant>) {
        self.deadlines[Timer::NextCandidate as usize] = when;
    }

    /// A packet that is not a keepalive was received. Keepalives do not count: two idle peers would answer each other
    /// for ever.
    pub(crate) fn data_received(&mut self, now: Instant) {
        if self.is_armed(Timer::PassiveKeepalive) {
            self.another_keepalive = true;
        } else {
            self.arm(Timer::PassiveKeepalive, now.plus(KEEPALIVE_TIMEOUT));
        }
    }

    /// The passive keepalive is being sent. Its own sending will cancel what this arms, unless it cannot be sent.
    pub(crate) fn passive_keepalive_expired(&mut self, now: Instant) {
        if std::mem::take(&mut self.another_keepalive) {
            self.arm(Timer::PassiveKeepalive, now.plus(KEEPALIVE_TIMEOUT));
        }
    }

    /// An initiation or a response is about to be made or sent.
    pub(crate) fn handshake_stamped(&mut self, now: Instant) {
        self.last_sent_handshake = Some(now);
        self.is_held_back = false;
    }

    /// A response was stamped, to an initiation that crossed ours, and the next one is to be the peer's. Ours is held back
    /// for a second more, which the jitter of his and its way here are shorter than.
    ///
    /// Of two initiations that cross neither is completed. Without this the next ones would cross as well, where both ends
    /// have something to send all the time: each may initiate 5 s after it answered the other.
    pub(crate) fn leave_it_to_the_peer(&mut self) {
        self.is_held_back = true;
    }

    /// An initiation is being computed. Should it never be committed, the retry comes at the latest regular moment.
    pub(crate) fn initiation_begun(&mut self, now: Instant) {
        self.handshake_stamped(now);
        self.arm(Timer::Retransmit, now.plus(REKEY_TIMEOUT + MAX_JITTER));
    }

    /// An initiation was asked for or sent: the next one is due when no response comes.
    pub(crate) fn await_response(&mut self, now: Instant, rng: &mut impl Rng) {
        self.arm(Timer::Retransmit, now.plus(REKEY_TIMEOUT + jitter(rng)));
    }

    /// A session was derived, in either role.
    pub(crate) fn session_derived(&mut self, now: Instant) {
        self.arm(Timer::ZeroKeys, now.plus(ZERO_KEYS_AFTER));
    }

    /// The session is confirmed: by a valid response, or by the first packet on `next`.
    pub(crate) fn handshake_complete(&mut self) {
        self.cancel(Timer::Retransmit);
        self.attempts = 0;
        self.last_minute_handshake = false;
        self.is_held_back = false;
    }

    /// A handshake is wanted for another reason than a missing response: count from the beginning.
    pub(crate) fn handshake_requested(&mut self) {
        self.attempts = 0;
    }

    /// A retry is being sent.
    pub(crate) fn handshake_retried(&mut self) {
        self.attempts += 1;
    }

    /// Nobody answered 20 initiations.
    pub(crate) fn handshake_given_up(&mut self, now: Instant) {
        self.cancel(Timer::PassiveKeepalive);
        if !self.is_armed(Timer::ZeroKeys) {
            self.arm(Timer::ZeroKeys, now.plus(ZERO_KEYS_AFTER));
        }
    }

    /// An initiation may not be sent yet; try again as soon as it may. `jitter` keeps two peers that answered each
    /// other's initiation at the same moment from meeting again.
    pub(crate) fn initiation_suppressed(&mut self, jitter: Duration) {
        self.arm(Timer::Retransmit, self.allowed_from().plus(jitter));
    }

    /// Our identity changed: both sides may start a handshake at once.
    pub(crate) fn forget_last_sent_handshake(&mut self) {
        self.last_sent_handshake = None;
    }

    /// The interface went down: nothing is armed, and only the configured interval is kept.
    pub(crate) fn stop(&mut self) {
        *self = Self { persistent_interval: self.persistent_interval, ..Self::default() };
    }
}

/// The persistent keepalive interval.
impl Timers {
    /// Sets the interval in seconds. A deadline that is running keeps its old length; 0 cancels it.
    pub(crate) fn set_persistent_interval(&mut self, secs: u16) {
        self.persistent_interval = secs;
        if secs == 0 {
            self.cancel(Timer::PersistentKeepalive);
        }
    }

    /// Returns the interval in seconds; 0 is off.
    pub(crate) fn persistent_interval(&self) -> u16 {
        self.persistent_interval
    }

    /// Arms the persistent keepalive for a whole interval, if there is one.
    pub(crate) fn rearm_persistent_keepalive(&mut self, now: Instant) {
        if self.persistent_interval > 0 {
            let interval = Duration::from_secs(self.persistent_interval.into());
            self.arm(Timer::PersistentKeepalive, now.plus(interval));
        }
    }
}

/// Another process goes on. Deadlines are times of the machine and stay as they are; the interval is configuration, and
/// comes as such.
impl Timers {
    /// Appends what is armed and counted.
    pub(crate) fn write(&self, out: &mut Writer) {
        self.deadlines.iter().for_each(|deadline| deadline.write(out));
        self.attempts.write(out);
        self.another_keepalive.write(out);
        self.last_minute_handshake.write(out);
        self.last_sent_handshake.write(out);
    }

    /// Reads what [`Timers::write`] wrote before `now`; without a persistent interval.
    pub(crate) fn read(now: Instant, input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut timers = Self::default();
        for deadline in &mut timers.deadlines {
            *deadline = Option::read(input)?;
        }
        timers.attempts = u32::read(input)?;
        timers.another_keepalive = bool::read(input)?;
        timers.last_minute_handshake = bool::read(input)?;
        timers.last_sent_handshake = Instant::read_past(now, input)?;
        Ok(timers)
    }

    /// Goes on with `carried`, except for the interval.
    pub(crate) fn resume(&mut self, carried: Self) {
        *self = Self { persistent_interval: self.persistent_interval, ..carried };
        if self.persistent_interval == 0 {
            self.cancel(Timer::PersistentKeepalive);
        }
    }

    /// The initiation that was pending stayed with the process before: the next one is due now. It spaces nothing, for
    /// its answer can no longer be understood.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        self.last_sent_handshake = None;
        self.arm(Timer::Retransmit, now);
    }

    /// An initiation was asked for and not begun: it is asked for again now, if it may be.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        self.arm(Timer::Retransmit, now);
    }
}

/// What is due, and what may be done.
impl Timers {
    /// Tells whether `timer` is due at `now`, and disarms it if so.
    pub(crate) fn take_expired(&mut self, timer: Timer, now: Instant) -> bool {
        let deadline = &mut self.deadlines[timer as usize];
        deadline.take_if(|deadline| *deadline <= now).is_some()
    }

    /// Returns the earliest deadline, `None` if nothing is armed.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Tells whether `timer` is armed.
    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize].is_some()
    }

    /// Tells whether 5 s passed since the last initiation or response. On a clock that went back: not until it caught
    /// up, so that a jumping clock cannot cause a storm.
    pub(crate) fn may_initiate(&self, now: Instant) -> bool {
        self.last_sent_handshake.is_none_or(|sent| now.since(sent) >= self.spacing())
    }

    /// Returns from when on an initiation may be sent.
    fn allowed_from(&self) -> Instant {
        self.last_sent_handshake.unwrap_or_default().plus(self.spacing())
    }

    fn spacing(&self) -> Duration {
        if self.is_held_back { REKEY_TIMEOUT + HELD_BACK } else { REKEY_TIMEOUT }
    }

    /// Tells whether 20 initiations were sent in vain: one request and 19 retries.
    pub(crate) fn attempts_exhausted(&self) -> bool {
        self.attempts > MAX_TIMER_HANDSHAKES
    }

    /// Tells, once per session, that the initiation for a dying session may be sent.
    pub(crate) fn take_last_minute(&mut self) -> bool {
        !std::mem::replace(&mut self.last_minute_handshake, true)
    }

    fn arm(&mut self, timer: Timer, deadline: Instant) {
        self.deadlines[timer as usize] = Some(deadline);
    }

    fn cancel(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }
}

/// Draws the time that keeps two peers from retrying in step: whole milliseconds, 0 to 333.
pub(crate) fn jitter(rng: &mut impl Rng) -> Duration {
    let most = MAX_JITTER.subsec_millis();
    Duration::from_millis(rng.random_range(0..=most).into())
}
