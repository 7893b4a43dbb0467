//! When which peer's timers are due: a heap for all peers, and the one thread that sleeps on it.
//!
//! Lazy: a peer has at most one live entry, made when its deadline became earlier than the one it is in the heap with.
//! Deadlines that move later (nearly all do, with every packet) cost one comparison; when the early entry comes up,
//! nothing is due and the peer is put in again. Ten thousand idle peers without keepalive cost nothing at all.
//!
//! An entry holds its peer's memory, for up to nine minutes after the peer was removed. So entries of removed peers are
//! swept out each time the heap has doubled: peers that come and go need room for twice those that are there.
//!
//! Not here: what is due (see `proto::timers`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use super::device::Device;
use super::io::Alarm;
use super::peer::Peer;
use super::sync::{Mutex, lock};
use super::workers::Context;
use crate::proto::time::Instant;

/// The scheduled deadlines of a device.
pub(super) struct Deadlines {
    heap: Mutex<Heap>,
}

struct Heap {
    entries: BinaryHeap<Reverse<Entry>>,
    /// With more entries than this, those of removed peers are swept out.
    swept_above: usize,
}

struct Entry {
    deadline: Instant,
    peer: Weak<Peer>,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self { heap: Mutex::new(Heap { entries: BinaryHeap::new(), swept_above: MIN_SWEPT }) }
    }

    /// Puts a peer in; wakes the thread if it would sleep too long.
    pub(super) fn schedule(&self, alarm: &dyn Alarm, deadline: Instant, peer: &Arc<Peer>) {
        let mut heap = lock(&self.heap);
        let earliest = heap.entries.peek().is_none_or(|Reverse(first)| deadline < first.deadline);
        heap.entries.push(Reverse(Entry { deadline, peer: Arc::downgrade(peer) }));
        if heap.entries.len() > heap.swept_above {
            heap.entries.retain(|Reverse(entry)| entry.peer.strong_count() > 0);
            heap.swept_above = (2 * heap.entries.len()).max(MIN_SWEPT);
        }
        drop(heap);
        if earliest {
            alarm.wake();
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        lock(&self.heap).entries.peek().map(|Reverse(entry)| entry.deadline)
    }

    /// Returns the number of entries, outdated ones included.
    pub(super) fn len(&self) -> usize {
        lock(&self.heap).entries.len()
    }

    fn pop_due(&self, now: Instant) -> Option<Entry> {
        let mut heap = lock(&self.heap);
        let due = heap.entries.peek().is_some_and(|Reverse(entry)| entry.deadline <= now);
        if due { heap.entries.pop().map(|Reverse(entry)| entry) } else { None }
    }
}

impl Device {
    /// Runs timers that are due, a bounded number: each may send, and a stalled uplink is waited for with each. What is left
    /// is due at the next call.
    pub(super) fn run_deadlines(&self, context: &mut Context) {
        let now = self.platform.clock.now();
        for _ in 0..MAX_RUN {
            let Some(entry) = self.deadlines.pop_due(now) else { return };
            let Some(peer) = entry.peer.upgrade() else { continue };
            let mut state = peer.state();
            // Another entry, with an earlier deadline, has taken the place of this one.
            if state.scheduled != Some(entry.deadline) {
                continue;
            }
            state.scheduled = None;
            state.core.handle_timeout(now, &mut context.rng);
            self.settle(context, &peer, state);
        }
    }
}

/// Entries that are not worth a sweep.
const MIN_SWEPT: usize = 64;
/// Timers of one call: at 20 ms for a send that has to wait, three seconds.
const MAX_RUN: usize = 150;

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.deadline == other.deadline
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.deadline.cmp(&other.deadline)
    }
}
