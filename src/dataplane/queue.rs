//! The two queues a batch is in while it is computed on: its peer's ordered queue and the shared work queue.
//!
//! A batch first reserves its place in the ordered queue of its peer and direction, then any thread computes on it,
//! then [`OrderedQueue::complete`] puts the result in its place. The thread that completes the head of the queue is
//! elected to drain: it takes results in order until the head is one that is still being computed. So order is kept
//! per peer, no peer costs a thread, and no lock is held while a result is sent or delivered.
//!
//! ```text
//!  reserve ->  [ 7: done ][ 8: computing ][ 9: done ]  -> reserve gives ticket 10
//!                  |               ^
//!               drained      complete(8) elects its caller: it drains 8 and 9
//! ```
//!
//! A mutex around a ring of places was chosen over an atomic state in each batch (as the kernel and wireguard-rs have):
//! it is taken three times per *batch*, costs about 20 ns uncontended, needs no allocation and no unsafe code, and its
//! proof is short: whoever finds the head done and nobody draining sets `draining` under the lock, and clears it under
//! the same lock in the moment it finds the head not done. `tests/loom_queue.rs` checks it over all interleavings.
//!
//! Not here: what is computed, and what draining means (see `send` and `receive`).

use std::collections::VecDeque;

use super::sync::{Condvar, Mutex, MutexGuard, lock, wait};

/// Results of parallel work, taken in the order in which their places were reserved.
pub(super) struct OrderedQueue<T> {
    ring: Mutex<Ring<T>>,
    idle: Condvar,
    capacity: usize,
}

struct Ring<T> {
    /// Ticket number of the front place.
    head: u64,
    /// `None`: still being computed.
    places: VecDeque<Option<T>>,
    draining: bool,
    /// Threads in [`OrderedQueue::quiesce`]: to notify nobody is a system call all the same, one for every batch.
    waiting: usize,
}

/// A reserved place. Must be completed, also if the work came to nothing: the places behind it wait.
#[must_use = "the places behind it wait for ever"]
#[derive(Debug)]
pub(super) struct Ticket(u64);

impl<T> OrderedQueue<T> {
    /// Makes an empty queue of at most `capacity` places. It allocates when first used.
    pub(super) fn new(capacity: usize) -> Self {
        let ring = Ring { head: 0, places: VecDeque::new(), draining: false, waiting: 0 };
        Self { ring: Mutex::new(ring), idle: Condvar::new(), capacity }
    }

    /// Reserves the place behind all others; `None` if the queue is full.
    pub(super) fn reserve(&self) -> Option<Ticket> {
        let mut ring = lock(&self.ring);
        if ring.places.len() == self.capacity {
            return None;
        }
        ring.places.push_back(None);
        Some(Ticket(ring.head + ring.places.len() as u64 - 1))
    }

    /// Fills the place of `ticket`. If that elects the caller, it must drain: see [`Drainer`].
    pub(super) fn complete(&self, ticket: Ticket, result: T) -> Option<Drainer<'_, T>> {
        let mut ring = lock(&self.ring);
        let place = (ticket.0 - ring.head) as usize;
        ring.places[place] = Some(result);
        let elected = place == 0 && !ring.draining;
        ring.draining |= elected;
        elected.then(|| Drainer { queue: self, finished: false })
    }

    /// Waits until nobody drains: after it returns, no result that was taken earlier is still being sent or delivered.
    pub(super) fn quiesce(&self) {
        let mut ring = lock(&self.ring);
        ring.waiting += 1;
        while ring.draining {
            ring = wait(&self.idle, ring);
        }
        ring.waiting -= 1;
    }

    /// Ends the draining, for the one who drains.
    fn release(&self, mut ring: MutexGuard<'_, Ring<T>>) {
        ring.draining = false;
        let waiting = ring.waiting > 0;
        drop(ring);
        if waiting {
            self.idle.notify_all();
        }
    }
}

/// The right and duty to take results until [`Drainer::next`] gives `None`.
#[must_use = "the elected thread must drain"]
pub(super) struct Drainer<'a, T> {
    queue: &'a OrderedQueue<T>,
    finished: bool,
}

impl<T> Drainer<'_, T> {
    /// Takes the head result; `None` ends the duty.
    pub(super) fn next(&mut self) -> Option<T> {
        let mut ring = lock(&self.queue.ring);
        if let Some(Some(_)) = ring.places.front() {
            ring.head += 1;
            return ring.places.pop_front().flatten();
        }
        // Here and not when the drainer is dropped: whoever completes the head from now on must be elected.
        self.finished = true;
        self.queue.release(ring);
        None
    }
}

/// A thread that panics while it drains does not leave others to wait for it for ever.
impl<T> Drop for Drainer<'_, T> {
    fn drop(&mut self) {
        if !self.finished {
            self.queue.release(lock(&self.queue.ring));
        }
    }
}

/// Batches waiting for an idle worker. Bounded: who finds it full does the work itself.
pub(super) struct WorkQueue<J> {
    shared: Mutex<Shared<J>>,
    available: Condvar,
    capacity: usize,
}

struct Shared<J> {
    jobs: VecDeque<J>,
    idle: usize,
    stopped: bool,
}

impl<J> WorkQueue<J> {
    /// Makes an empty queue of at most `capacity` jobs.
    pub(super) fn new(capacity: usize) -> Self {
        let shared = Shared { jobs: VecDeque::with_capacity(capacity), idle: 0, stopped: false };
        Self { shared: Mutex::new(shared), available: Condvar::new(), capacity }
    }

    /// Hands `job` to an idle worker; gives it back if none is idle or the queue is full.
    pub(super) fn share(&self, job: J) -> Result<(), J> {
        let mut shared = lock(&self.shared);
        if shared.idle <= shared.jobs.len() || shared.jobs.len() == self.capacity {
            return Err(job);
        }
        shared.jobs.push_back(job);
        drop(shared);
        self.available.notify_one();
        Ok(())
    }

    /// Waits for a job; `None` once the queue is stopped.
    pub(super) fn next(&self) -> Option<J> {
        let mut shared = lock(&self.shared);
        shared.idle += 1;
        loop {
            if shared.stopped {
                return None;
            }
            if let Some(job) = shared.jobs.pop_front() {
                shared.idle -= 1;
                return Some(job);
            }
            shared = wait(&self.available, shared);
        }
    }

    /// Takes a job without waiting: for a thread that is out of buffers and helps instead.
    pub(super) fn try_next(&self) -> Option<J> {
        lock(&self.shared).jobs.pop_front()
    }

    /// Returns how many jobs wait, and how many workers do.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let shared = lock(&self.shared);
        (shared.jobs.len(), shared.idle.saturating_sub(shared.jobs.len()))
    }

    /// Tells whether no job waits and all of `workers` do: nothing is being done.
    pub(super) fn is_idle(&self, workers: usize) -> bool {
        let shared = lock(&self.shared);
        shared.jobs.is_empty() && shared.idle == workers
    }

    /// Ends all present and future waits.
    pub(super) fn stop(&self) {
        lock(&self.shared).stopped = true;
        self.available.notify_all();
    }
}
