//! What is counted of one peer beside its bytes: how its handshakes go, and what of its packets was dropped.
//!
//! The first lies in the peer's state and is written under its lock, by handshakes alone. The second is written by
//! whoever drops packets, once for those of a batch, and takes memory only from the first drop on: most peers have none,
//! and an idle one is to be small.
//!
//! Not here: the counters of the device (see `stats`), bytes and packets (see `proto::peer`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::stats::Drop;
use crate::proto::time::Instant;

/// How the handshakes with a peer went. Counters wrap after four billion, one a second for 136 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeCounts {
    /// Initiations of ours that were sent, repetitions too.
    pub initiations: u32,
    /// Those of them that no response came to in time: lost, or refused by the peer.
    pub unanswered: u32,
    /// Handshakes completed that we began.
    pub completed_as_initiator: u32,
    /// Handshakes completed that the peer began.
    pub completed_as_responder: u32,
    /// Handshakes given up after 20 attempts.
    pub given_up: u32,
    /// Time from the last answered initiation to its response.
    pub last_rtt: Option<Rtt>,
    /// The least of these times.
    pub least_rtt: Option<Rtt>,
}

/// A round trip, in microseconds: fifty days are more than a handshake lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rtt(u32);

impl From<Duration> for Rtt {
    fn from(time: Duration) -> Self {
        Self(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
    }
}

impl From<Rtt> for Duration {
    fn from(rtt: Rtt) -> Self {
        Self::from_micros(rtt.0.into())
    }
}

/// The counts of a peer, and the initiation that waits for its response.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Without those as responder.
    counts: HandshakeCounts,
    completed: u32,
    begun: Option<Instant>,
}

impl Handshakes {
    /// An initiation leaves at `now`. If another one waited, nobody has answered it.
    pub(super) fn begun(&mut self, now: Instant) {
        self.counts.initiations = self.counts.initiations.wrapping_add(1);
        if self.begun.replace(now).is_some() {
            self.unanswered();
        }
    }

    /// The response to the initiation was accepted at `now`; returns how long it took.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Duration> {
        let counts = &mut self.counts;
        counts.completed_as_initiator = counts.completed_as_initiator.wrapping_add(1);
        let time = now.since(self.begun.take()?);
        let rtt = Rtt::from(time);
        counts.last_rtt = Some(rtt);
        counts.least_rtt = Some(counts.least_rtt.map_or(rtt, |least| least.min(rtt)));
        Some(time)
    }

    /// A handshake is complete, whoever began it. One of ours was told by [`Handshakes::answered`] before.
    pub(super) fn completed(&mut self) {
        self.completed = self.completed.wrapping_add(1);
    }

    /// The last attempt was not answered either.
    pub(super) fn given_up(&mut self) {
        self.counts.given_up = self.counts.given_up.wrapping_add(1);
        if self.begun.take().is_some() {
            self.unanswered();
        }
    }

    /// No response is waited for any more, for another reason than that none came.
    pub(super) fn called_off(&mut self) {
        self.begun = None;
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> HandshakeCounts {
        let completed_as_responder = self.completed.wrapping_sub(self.counts.completed_as_initiator);
        HandshakeCounts { completed_as_responder, ..self.counts }
    }

    fn unanswered(&mut self) {
        self.counts.unanswered = self.counts.unanswered.wrapping_add(1);
    }
}

/// Packets of one peer that were dropped, by reason.
#[derive(Debug, Default)]
pub(super) struct PeerDrops(OnceLock<Box<[AtomicU64; Drop::ALL.len()]>>);

impl PeerDrops {
    /// Counts `packets`, at least one.
    #[cold]
    pub(super) fn add(&self, reason: Drop, packets: usize) {
        let counters = self.0.get_or_init(Box::default);
        // Relaxed: a count, from which nothing else is concluded.
        counters[reason as usize].fetch_add(packets as u64, Ordering::Relaxed);
    }

    /// Returns the reasons there were, each with its number of packets.
    pub(super) fn counts(&self) -> Vec<(Drop, u64)> {
        let Some(counters) = self.0.get() else { return Vec::new() };
        let counts = Drop::ALL.iter().map(|&reason| (reason, counters[reason as usize].load(Ordering::Relaxed)));
        counts.filter(|&(_, packets)| packets > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn a_round_trip_is_that_of_the_initiation_that_was_answered() {
        let mut handshakes = Handshakes::default();
        handshakes.begun(at(0));
        handshakes.begun(at(5_000));
        assert_eq!(handshakes.answered(at(5_030)), Some(Duration::from_millis(30)));
        handshakes.completed();
        handshakes.begun(at(120_000));
        assert_eq!(handshakes.answered(at(120_050)), Some(Duration::from_millis(50)));
        handshakes.completed();
        handshakes.completed();
        let counts = handshakes.counts();
        assert_eq!((counts.initiations, counts.unanswered), (3, 1));
        assert_eq!((counts.completed_as_initiator, counts.completed_as_responder), (2, 1));
        assert_eq!(counts.last_rtt.map(Duration::from), Some(Duration::from_millis(50)));
        assert_eq!(counts.least_rtt.map(Duration::from), Some(Duration::from_millis(30)));
    }

    #[test]
    fn an_initiation_that_was_called_off_is_not_unanswered() {
        let mut handshakes = Handshakes::default();
        handshakes.begun(at(0));
        handshakes.called_off();
        handshakes.begun(at(1));
        assert_eq!(handshakes.counts().unanswered, 0);
        handshakes.given_up();
        assert_eq!((handshakes.counts().unanswered, handshakes.counts().given_up), (1, 1));
    }

    #[test]
    fn a_peer_without_drops_holds_nothing_for_them() {
        let drops = PeerDrops::default();
        assert!(drops.0.get().is_none() && drops.counts().is_empty());
        drops.add(Drop::Replayed, 2);
        drops.add(Drop::Replayed, 1);
        drops.add(Drop::Staged, 1);
        assert_eq!(drops.counts(), [(Drop::Staged, 1), (Drop::Replayed, 3)]);
        assert!(size_of::<PeerDrops>() <= 16);
    }
}
