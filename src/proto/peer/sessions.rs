//! The three places a session can be in: `previous`, `current`, `next`.
//!
//! ```text
//!              valid response (initiator)           response sent (responder)
//!                        |                                    |
//!                        v       first packet on `next`       v
//!  previous  <------  current  <---------------------------  next
//!  receive            send, receive                          receive
//! ```
//!
//! Only `current` sends, so a responder never uses a key that the initiator has not confirmed. The send counter and
//! the replay window live here, beside the immutable [`Keypair`]. A slot takes 40 bytes: the bits of the window are on
//! the heap, so that a peer without a session stays small.
//!
//! Not here: when sessions begin (see `handshakes`), what their rotation means to timers (see `peer`).
//!
//! Source: whitepaper sections 6.1 to 6.3; the kernel driver's `noise.c`.

use std::sync::Arc;

use super::output::Outputs;
use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::constants::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME};
use crate::proto::index::Index;
use crate::proto::keypair::Keypair;
use crate::proto::replay::ReplayWindow;
use crate::proto::time::Instant;

/// A keypair and the part of it that changes.
pub(super) struct Session {
    pub(super) keypair: Arc<Keypair>,
    /// The counter of the next packet: each value is handed out once, whatever becomes of the packet.
    pub(super) next_counter: u64,
    /// Sending ended for good: too old, out of counters, or our identity changed.
    pub(super) may_send: bool,
    window: ReplayWindow,
}

impl Session {
    /// Makes the session of a fresh keypair.
    pub(super) fn new(keypair: Arc<Keypair>) -> Self {
        Self { keypair, next_counter: 0, may_send: true, window: ReplayWindow::new() }
    }

    /// Takes `count` consecutive counters and returns the first. `None` ends sending with this session: it is 180 s
    /// old, invalidated, or the counters up to the limit do not suffice.
    pub(super) fn take_counters(&mut self, now: Instant, count: u64) -> Option<u64> {
        let left = REJECT_AFTER_MESSAGES.saturating_sub(self.next_counter);
        if !self.may_send || self.is_dead(now) || left == 0 || count > left {
            self.may_send = false;
            return None;
        }
        let first = self.next_counter;
        self.next_counter += count;
        Some(first)
    }

    /// Accepts the counter of an authentic packet at most once. Counters from the limit on are refused.
    pub(super) fn accept(&mut self, counter: u64) -> bool {
        counter < REJECT_AFTER_MESSAGES && self.window.accept(counter)
    }

    /// Passes over `count` counters: they are never used.
    pub(super) fn skip_counters(&mut self, count: u64) {
        self.next_counter = self.next_counter.saturating_add(count).min(REJECT_AFTER_MESSAGES);
    }

    fn write(&self, out: &mut Writer) {
        self.keypair.write(out);
        self.next_counter.write(out);
        self.may_send.write(out);
        self.window.write(out);
    }

    fn read(now: Instant, input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let keypair = Arc::new(Keypair::read(now, input)?);
        let session = Self {
            keypair,
            next_counter: u64::read(input)?,
            may_send: bool::read(input)?,
            window: ReplayWindow::read(input)?,
        };
        if session.next_counter <= REJECT_AFTER_MESSAGES { Ok(session) } else { Err(Malformed) }
    }

    /// Tells whether the session is too old for anything.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now.since(self.keypair.birth) >= REJECT_AFTER_TIME
    }
}

/// The sessions of one peer.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) previous: Option<Session>,
    pub(super) current: Option<Session>,
    pub(super) next: Option<Session>,
}

impl Sessions {
    /// Installs the session of a handshake that we started: the peer has the key already, so it is used at once.
    ///
    /// An unconfirmed `next` is newer than `current` and the peer may be sending with it: it is the one to keep.
    pub(super) fn install_as_initiator(&mut self, keypair: Arc<Keypair>, outputs: &mut Outputs) {
        outputs.publish(Arc::clone(&keypair));
        let old = self.current.replace(Session::new(keypair));
        let previous = match self.next.take() {
            Some(next) => {
                destroy(old, outputs);
                Some(next)
            }
            None => old,
        };
        destroy(std::mem::replace(&mut self.previous, previous), outputs);
    }

    /// Installs the session of a handshake that we answer: receive only, until the peer shows that it has the key.
    pub(super) fn install_as_responder(&mut self, keypair: Arc<Keypair>, outputs: &mut Outputs) {
        outputs.publish(Arc::clone(&keypair));
        destroy(self.previous.take(), outputs);
        destroy(self.next.replace(Session::new(keypair)), outputs);
    }

    /// Makes `next` the current session if `index` is its index; false if it is not.
    pub(super) fn confirm(&mut self, index: Index, outputs: &mut Outputs) -> bool {
        let Some(next) = self.next.take_if(|next| next.keypair.local == index) else {
            return false;
        };
        let old = self.current.replace(next);
        destroy(std::mem::replace(&mut self.previous, old), outputs);
        true
    }

    /// Ends sending with `current` and `next`; receiving goes on until they are 180 s old.
    pub(super) fn invalidate_sending(&mut self) {
        for session in [&mut self.current, &mut self.next].into_iter().flatten() {
            session.may_send = false;
        }
    }

    /// Appends the sessions, for another process.
    pub(super) fn write(&self, out: &mut Writer) {
        for session in [&self.previous, &self.current, &self.next] {
            session.is_some().write(out);
            if let Some(session) = session {
                session.write(out);
            }
        }
    }

    /// Reads what [`Sessions::write`] wrote in another process.
    pub(super) fn read(now: Instant, input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut session = || if bool::read(input)? { Session::read(now, input).map(Some) } else { Ok(None) };
        Ok(Self { previous: session()?, current: session()?, next: session()? })
    }

    /// Returns those there are.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Session> {
        [&mut self.previous, &mut self.current, &mut self.next].into_iter().flatten()
    }

    /// Destroys all sessions.
    pub(super) fn clear(&mut self, outputs: &mut Outputs) {
        for slot in [&mut self.previous, &mut self.current, &mut self.next] {
            destroy(slot.take(), outputs);
        }
    }

    /// Returns the session that packets with `index` belong to.
    pub(super) fn by_index(&mut self, index: Index) -> Option<&mut Session> {
        // Most packets are for `current`.
        [&mut self.current, &mut self.next, &mut self.previous]
            .into_iter()
            .flatten()
            .find(|session| session.keypair.local == index)
    }

    /// Tells whether `keypair` is in a slot.
    pub(super) fn contains(&self, keypair: &Keypair) -> bool {
        [&self.current, &self.previous, &self.next]
            .into_iter()
            .flatten()
            .any(|session| std::ptr::eq(Arc::as_ptr(&session.keypair), keypair))
    }

    /// Tells whether there is a session to send with at `now`.
    pub(super) fn can_send(&self, now: Instant) -> bool {
        self.current.as_ref().is_some_and(|current| {
            current.may_send && !current.is_dead(now) && current.next_counter < REJECT_AFTER_MESSAGES
        })
    }
}

fn destroy(session: Option<Session>, outputs: &mut Outputs) {
    if let Some(session) = session {
        outputs.release(session.keypair.local);
    }
}
