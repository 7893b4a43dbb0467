//! Signs of life: whether every thread of a device still comes round.
//!
//! A supervisor has to learn that packets would be carried, not that some timer runs. So each beat asks the threads
//! themselves, and the next one finds out who has not answered:
//!
//! ```text
//!   beat n    number := n, wake          packets, deadlines: woken, they come round and note n
//!   beat n+1  who has not noted n?       workers, handshakes: they note that they rest, or that they took up work at n
//! ```
//! A thread that sleeps on a queue is well; one that took up work before beat n and is at it still at beat n+1 is not.
//!
//! The number shares its word with the order to stop, which the loops read once per batch in any case: packets pay
//! nothing for it.
//!
//! Not here: who asks and what follows (see `control::supervisor`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::io::ThreadClock;
use super::sync::{Mutex, lock};

/// What is asked of the threads, and what they answered.
pub(super) struct Pulse {
    /// Bit 0: stop. The others: the number of the last beat.
    orders: AtomicUsize,
    threads: Mutex<Vec<Arc<Thread>>>,
}

struct Thread {
    name: String,
    /// The orders the thread has last seen, or [`RESTING`].
    seen: AtomicUsize,
    /// Told once it runs.
    cpu: OnceLock<ThreadClock>,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { orders: AtomicUsize::new(0), threads: Mutex::new(Vec::new()) })
    }

    /// Adds a thread, from before it runs.
    pub(super) fn add(self: &Arc<Self>, name: &str) -> Life {
        let seen = self.orders.load(Ordering::Relaxed);
        let thread = Arc::new(Thread { name: name.to_owned(), seen: AtomicUsize::new(seen), cpu: OnceLock::new() });
        lock(&self.threads).push(Arc::clone(&thread));
        Life { pulse: Arc::clone(self), thread, seen }
    }

    /// Returns the names of the threads that have not answered the last beat. If there are none, a new one begins. The
    /// caller wakes who may sleep on anything but a queue.
    pub(super) fn beat(&self) -> Vec<String> {
        let asked = self.orders.load(Ordering::Relaxed) & !STOP;
        let threads = lock(&self.threads);
        let is_late = |thread: &&Arc<Thread>| {
            let seen = thread.seen.load(Ordering::Relaxed);
            seen != RESTING && seen & !STOP != asked
        };
        let late: Vec<_> = threads.iter().filter(is_late).map(|thread| thread.name.clone()).collect();
        if late.is_empty() {
            self.orders.fetch_add(STEP, Ordering::Relaxed);
        }
        late
    }

    /// Returns the threads that have told their clocks, by name.
    pub(super) fn clocks(&self) -> Vec<(String, ThreadClock)> {
        let threads = lock(&self.threads);
        threads.iter().filter_map(|thread| Some((thread.name.clone(), *thread.cpu.get()?))).collect()
    }

    /// Orders all threads to stop. The caller wakes them.
    pub(super) fn stop(&self) {
        // Release: pairs with the load in `Life::goes_on`, so that what was set up for the end is seen with it.
        self.orders.fetch_or(STOP, Ordering::Release);
    }
}

/// One thread's side.
pub(super) struct Life {
    pulse: Arc<Pulse>,
    thread: Arc<Thread>,
    seen: usize,
}

impl Life {
    /// Answers the last beat; false if the thread is to stop.
    pub(super) fn goes_on(&mut self) -> bool {
        // Acquire: pairs with `Pulse::stop`.
        let orders = self.pulse.orders.load(Ordering::Acquire);
        if orders != self.seen {
            self.note(orders);
        }
        orders & STOP == 0
    }

    /// Tells the clock of the thread's CPU time, from within it.
    pub(super) fn runs_on(&self, clock: Option<ThreadClock>) {
        if let Some(clock) = clock {
            let _ = self.thread.cpu.set(clock);
        }
    }

    /// Says that the thread waits for work. The next [`Life::goes_on`] ends it.
    pub(super) fn rests(&mut self) {
        self.note(RESTING);
    }

    fn note(&mut self, seen: usize) {
        self.seen = seen;
        // Relaxed: nothing else is concluded from it.
        self.thread.seen.store(seen, Ordering::Relaxed);
    }
}

const STOP: usize = 1;
const STEP: usize = 2;
/// No beat comes so far: at one a microsecond, after 290,000 years.
const RESTING: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_come_round_since_the_last_beat_is_named() {
        let pulse = Pulse::new();
        let (mut packets, mut deadlines) = (pulse.add("packets"), pulse.add("deadlines"));
        assert_eq!(pulse.beat(), [""; 0], "nothing was asked so far");
        assert!(packets.goes_on());
        assert_eq!(pulse.beat(), ["deadlines"]);
        assert_eq!(pulse.beat(), ["deadlines"], "it still owes its answer, and the other one has given its own");
        assert!(deadlines.goes_on());
        assert_eq!(pulse.beat(), [""; 0]);
        assert_eq!(pulse.beat(), ["packets", "deadlines"]);
    }

    #[test]
    fn who_rests_is_well_and_who_never_comes_back_from_work_is_not() {
        let pulse = Pulse::new();
        let mut worker = pulse.add("worker-1");
        worker.rests();
        for _ in 0..3 {
            assert_eq!(pulse.beat(), [""; 0]);
        }
        assert!(worker.goes_on());
        assert_eq!(pulse.beat(), [""; 0], "it took up work after the last beat");
        assert_eq!(pulse.beat(), ["worker-1"]);
        worker.rests();
        assert_eq!(pulse.beat(), [""; 0]);
    }

    #[test]
    fn the_order_to_stop_is_no_beat() {
        let pulse = Pulse::new();
        let mut thread = pulse.add("packets");
        assert!(thread.goes_on());
        pulse.stop();
        assert!(!thread.goes_on());
        assert_eq!(pulse.beat(), [""; 0]);
        assert!(!thread.goes_on());
        assert_eq!(pulse.beat(), [""; 0]);
    }
}
