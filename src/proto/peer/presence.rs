//! Whether a peer is heard, for people and their programs: the protocol itself decides nothing by it.
//!
//! ```text
//!              a handshake completes
//!    absent ---------------------------> present
//!       ^                                  |
//!       +----------------------------------+
//!         nothing authentic for 180 s, or the interface went down
//! ```
//! A session is dead after [`REJECT_AFTER_TIME`], and is never younger than the last thing heard: an absent peer has
//! no session that works, so only a handshake brings it back. A rekey of a present peer is no news.
//!
//! Lazy, as the deadlines of the data plane: what is heard moves no deadline, it is one store; when the deadline comes
//! up, it is put off if something was heard since.
//!
//! Not here: the timers of the protocol (see `timers`), who is told (see `dataplane::events`).

use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::constants::REJECT_AFTER_TIME;
use crate::proto::time::Instant;

/// When a peer was last heard, and when it is to be asked after.
#[derive(Debug, Default)]
pub(super) struct Presence {
    heard: Instant,
    /// `None` while the peer is absent.
    check_at: Option<Instant>,
}

impl Presence {
    /// An initiation, response, keepalive or data packet was received, authentic and not replayed.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A handshake completed, confirmed by both sides; tells whether the peer was absent.
    pub(super) fn confirmed(&mut self, now: Instant) -> bool {
        self.heard = now;
        let was_absent = self.check_at.is_none();
        if was_absent {
            self.check_at = Some(now.plus(REJECT_AFTER_TIME));
        }
        was_absent
    }

    /// Looks after the peer if that is due; tells whether it became absent.
    pub(super) fn fell_silent(&mut self, now: Instant) -> bool {
        if self.check_at.is_none_or(|check_at| now < check_at) {
            return false;
        }
        let silent_at = self.heard.plus(REJECT_AFTER_TIME);
        let is_silent = silent_at <= now;
        self.check_at = (!is_silent).then_some(silent_at);
        is_silent
    }

    /// The interface went down, or the peer is being removed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Appends it, for another process.
    pub(super) fn write(&self, out: &mut Writer) {
        self.heard.write(out);
        self.check_at.write(out);
    }

    /// Reads what [`Presence::write`] wrote in another process.
    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { heard: Instant::read(input)?, check_at: Option::read(input)? })
    }

    /// Returns when to look after the peer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.check_at
    }
}
