//! A peer in another process: everything it knows goes over, and it goes on as if nothing had been.
//!
//! ```text
//!   sessions      keys, indices, birth, role, the next counter, the window of what was received
//!   timers        deadlines, attempts, when the last initiation or response was sent
//!   timestamps    the newest one sent and the newest one accepted: recorded initiations stay worthless
//!   the rest      endpoint with the source that was learnt, last handshake, byte counters
//! ```
//! Left behind: an initiation that waits for its response (it is begun again), a cookie of the peer (it is given again
//! when it is needed), and configuration, which comes as such before.
//!
//! No counter is ever used twice: the process before has stopped sending when this is written, and the one after begins
//! [`SKIPPED_COUNTERS`] later. Should the former have to go on after all, it skips far more ([`Peer::skip_counters`]), so
//! that the two have no counter in common whatever the latter did.
//!
//! Not here: who else has to be told (indices, deadlines: the data plane).

use super::presence::Presence;
use super::sessions::Sessions;
use super::{Handshake, Peer};
use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::endpoint::Endpoint;
use crate::proto::index::Index;
use crate::proto::time::{Instant, WallTime};
use crate::proto::timers::Timers;
use crate::proto::timestamp::Timestamp;

/// How far ahead the next process begins. More than a batch takes, and so little that the receiver's window of 8,128
/// still reaches what overtook.
pub const SKIPPED_COUNTERS: u64 = 1024;

/// What a peer of another process knew.
pub struct CarriedPeer {
    endpoint: Option<Endpoint>,
    sessions: Sessions,
    timers: Timers,
    presence: Presence,
    emitted_timestamp: Option<Timestamp>,
    accepted_timestamp: Timestamp,
    accepted_initiation_at: Option<Instant>,
    last_handshake: Option<WallTime>,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_packets: u64,
    tx_packets: u64,
}

impl Peer {
    /// The most bytes [`Peer::write`] appends: three sessions with windows of 1 KiB, and 250 bytes at most beside them.
    pub const MAX_CARRIED_LEN: usize = 4096;

    /// Appends what a peer of the same configuration needs to go on in another process. Nothing changes here: whoever
    /// calls it sees to it that this one sends nothing any more, or only after [`Peer::skip_counters`].
    ///
    /// `is_asked` says that an initiation was asked for by an output and has not begun.
    pub fn write(&self, is_asked: bool, out: &mut Writer) {
        self.endpoint.write(out);
        self.sessions.write(out);
        (!matches!(self.handshake, Handshake::Nothing)).write(out);
        is_asked.write(out);
        self.timers.write(out);
        self.presence.write(out);
        self.emitted_timestamp.write(out);
        self.accepted_timestamp.write(out);
        self.accepted_initiation_at.write(out);
        self.last_handshake.write(out);
        self.rx_bytes.write(out);
        self.tx_bytes.write(out);
        self.rx_packets.write(out);
        self.tx_packets.write(out);
    }

    /// Goes on as the peer that was written, whose interface was up or not. To be called on one that is down and has its
    /// configuration; of that, only the endpoint is replaced.
    ///
    /// The caller has reserved the sessions' indices, which are published by outputs.
    pub fn resume(&mut self, carried: CarriedPeer, is_up: bool) {
        debug_assert!(!self.is_up, "a peer that runs has sessions of its own");
        self.is_up = is_up;
        self.endpoint = carried.endpoint;
        self.timers.resume(carried.timers);
        self.presence = carried.presence;
        self.emitted_timestamp = carried.emitted_timestamp;
        self.accepted_timestamp = carried.accepted_timestamp;
        self.accepted_initiation_at = carried.accepted_initiation_at;
        self.last_handshake = carried.last_handshake;
        self.rx_bytes = carried.rx_bytes;
        self.tx_bytes = carried.tx_bytes;
        self.rx_packets = carried.rx_packets;
        self.tx_packets = carried.tx_packets;
        self.sessions = carried.sessions;
        self.skip_counters(SKIPPED_COUNTERS);
        for session in self.sessions.all() {
            self.outputs.publish(session.keypair.clone());
        }
    }

    /// Tells whether the interface is up.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Passes over `count` counters of every session.
    pub fn skip_counters(&mut self, count: u64) {
        self.sessions.all().for_each(|session| session.skip_counters(count));
    }
}

impl CarriedPeer {
    /// Reads what [`Peer::write`] wrote before `now`. Handshakes that were under way are due again at once.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(now: Instant, input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (endpoint, sessions) = (Option::read(input)?, Sessions::read(now, input)?);
        let (is_pending, is_asked) = (bool::read(input)?, bool::read(input)?);
        let mut carried = Self {
            endpoint,
            sessions,
            timers: Timers::read(now, input)?,
            presence: Presence::read(input)?,
            emitted_timestamp: Option::read(input)?,
            accepted_timestamp: Timestamp::read(input)?,
            accepted_initiation_at: Instant::read_past(now, input)?,
            last_handshake: Option::read(input)?,
            rx_bytes: u64::read(input)?,
            tx_bytes: u64::read(input)?,
            rx_packets: u64::read(input)?,
            tx_packets: u64::read(input)?,
        };
        if is_pending {
            carried.timers.begin_again(now);
        } else if is_asked {
            carried.timers.ask_again(now);
        }
        Ok(carried)
    }

    /// Returns our indices of its sessions: those in messages we receive.
    pub fn indices(&mut self) -> impl Iterator<Item = Index> {
        self.sessions.all().map(|session| session.keypair.local)
    }
}
