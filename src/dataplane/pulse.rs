//! Orders to the threads of a device (stop, hold), and signs of life: whether every one of them still comes round.
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
//! The order to hold makes the threads that begin work by themselves (`packets`, `deadlines`) stand where they come
//! round, with nothing in their hands, until they are released or stopped. Those that are given work finish it.
//!
//! The number shares its word with both orders, which the loops read once per batch in any case: packets pay nothing for
//! either.
//!
//! Not here: who asks and what follows (see `control::supervisor`), what is held for (see `handover`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::io::ThreadClock;
use super::sync::{Condvar, Mutex, lock, wait};

/// What is asked of the threads, and what they answered.
pub(super) struct Pulse {
    /// Bit 0: stop. Bit 1: hold. The others: the number of the last beat.
    orders: AtomicUsize,
    threads: Mutex<Vec<Arc<Thread>>>,
    /// Taken by whoever ends the order to hold, so that no thread misses it on its way to sleep.
    holding: Mutex<()>,
    released: Condvar,
}

struct Thread {
    name: String,
    begins: Begins,
    /// The orders the thread has last seen, or [`RESTING`], or [`HELD`].
    seen: AtomicUsize,
    /// Told once it runs.
    cpu: OnceLock<ThreadClock>,
}

/// What a thread's work begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// An event that it waits for itself: it can be held.
    ByItself,
    /// Work that another thread has put into a queue: there is none while the others are held.
    WhenGivenWork,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        let (threads, holding) = (Mutex::new(Vec::new()), Mutex::new(()));
        Arc::new(Self { orders: AtomicUsize::new(0), threads, holding, released: Condvar::new() })
    }

    /// Adds a thread, from before it runs.
    pub(super) fn add(self: &Arc<Self>, name: &str, begins: Begins) -> Life {
        // Not the order to hold: it is one that the thread has still to come upon.
        let seen = self.orders.load(Ordering::Relaxed) & !HOLD;
        let thread =
            Arc::new(Thread { name: name.to_owned(), begins, seen: AtomicUsize::new(seen), cpu: OnceLock::new() });
        lock(&self.threads).push(Arc::clone(&thread));
        Life { pulse: Arc::clone(self), thread, seen }
    }

    /// Returns the names of the threads that have not answered the last beat. If there are none, a new one begins. The
    /// caller wakes who may sleep on anything but a queue.
    pub(super) fn beat(&self) -> Vec<String> {
        let asked = self.orders.load(Ordering::Relaxed) & !ORDERS;
        let threads = lock(&self.threads);
        let is_late = |thread: &&Arc<Thread>| {
            let seen = thread.seen.load(Ordering::Relaxed);
            seen != RESTING && seen != HELD && seen & !ORDERS != asked
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
        let holding = lock(&self.holding);
        // Release: pairs with the load in `Life::goes_on`, so that what was set up for the end is seen with it.
        self.orders.fetch_or(STOP, Ordering::Release);
        drop(holding);
        self.released.notify_all();
    }

    /// Orders the threads that begin by themselves to stand where they come round. The caller wakes them.
    pub(super) fn hold(&self) {
        self.orders.fetch_or(HOLD, Ordering::Release);
    }

    /// Tells whether all of them stand, or have ended.
    pub(super) fn are_held(&self) -> bool {
        let threads = lock(&self.threads);
        let mut held = threads.iter().filter(|thread| thread.begins == Begins::ByItself);
        // Acquire: pairs with the store of a thread that stands, so that all it did is seen.
        held.all(|thread| thread.seen.load(Ordering::Acquire) == HELD)
    }

    /// Lets them go on.
    pub(super) fn release(&self) {
        let holding = lock(&self.holding);
        // Release: pairs with the load in `Life::stand`, so that what was done meanwhile is seen.
        self.orders.fetch_and(!HOLD, Ordering::Release);
        drop(holding);
        self.released.notify_all();
    }
}

/// One thread's side.
pub(super) struct Life {
    pulse: Arc<Pulse>,
    thread: Arc<Thread>,
    seen: usize,
}

impl Life {
    /// Answers the last beat; false if the thread is to stop. Returns no earlier than the thread may go on.
    pub(super) fn goes_on(&mut self) -> bool {
        // Acquire: pairs with `Pulse::stop`.
        let mut orders = self.pulse.orders.load(Ordering::Acquire);
        if orders != self.seen {
            if orders & HOLD != 0 && self.thread.begins == Begins::ByItself {
                orders = self.stand();
            }
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

    /// Waits until the order to hold is over, or the one to stop comes; returns the orders of then.
    fn stand(&self) -> usize {
        // Release: see `Pulse::are_held`.
        self.thread.seen.store(HELD, Ordering::Release);
        let mut holding = lock(&self.pulse.holding);
        loop {
            // Acquire: pairs with `Pulse::release` and `Pulse::stop`.
            let orders = self.pulse.orders.load(Ordering::Acquire);
            if orders & HOLD == 0 || orders & STOP != 0 {
                return orders;
            }
            holding = wait(&self.pulse.released, holding);
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
const HOLD: usize = 2;
const ORDERS: usize = STOP | HOLD;
const STEP: usize = 4;
/// No beat comes so far: at one a microsecond, after 146,000 years.
const RESTING: usize = usize::MAX;
const HELD: usize = RESTING - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_come_round_since_the_last_beat_is_named() {
        let pulse = Pulse::new();
        let (mut packets, mut deadlines) =
            (pulse.add("packets", Begins::ByItself), pulse.add("deadlines", Begins::ByItself));
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
        let mut worker = pulse.add("worker-1", Begins::WhenGivenWork);
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
        let mut thread = pulse.add("packets", Begins::ByItself);
        assert!(thread.goes_on());
        pulse.stop();
        assert!(!thread.goes_on());
        assert_eq!(pulse.beat(), [""; 0]);
        assert!(!thread.goes_on());
        assert_eq!(pulse.beat(), [""; 0]);
    }

    #[test]
    fn who_begins_by_itself_stands_until_it_is_released_and_who_is_given_work_does_it() {
        let pulse = Pulse::new();
        pulse.hold();
        let mut worker = pulse.add("worker-1", Begins::WhenGivenWork);
        assert!(worker.goes_on());
        worker.rests();
        let mut packets = pulse.add("packets", Begins::ByItself);
        assert!(!pulse.are_held());
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || (packets.goes_on(), packets));
            while !pulse.are_held() {
                std::thread::yield_now();
            }
            for _ in 0..3 {
                assert_eq!(pulse.beat(), [""; 0], "it does not come round, and is well");
            }
            assert!(!thread.is_finished());
            pulse.release();
            let (goes_on, mut packets) = thread.join().expect("no panic");
            assert!(goes_on && packets.goes_on() && !pulse.are_held());
        });
    }

    #[test]
    fn who_stands_is_stopped_all_the_same() {
        let pulse = Pulse::new();
        let mut packets = pulse.add("packets", Begins::ByItself);
        pulse.hold();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || packets.goes_on());
            while !pulse.are_held() {
                std::thread::yield_now();
            }
            pulse.stop();
            assert!(!thread.join().expect("no panic"));
        });
    }
}
