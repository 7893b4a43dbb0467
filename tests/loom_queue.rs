//! The ordered queue under every interleaving: compiled here over loom's mutex and condition variable.

use std::sync::Arc;

use loom::thread;

/// Stands in for `dataplane::sync`.
mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("loom does not poison")
    }

    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("loom does not poison")
    }
}

#[path = "../src/dataplane/queue.rs"]
#[allow(dead_code)]
mod queue;

use queue::{OrderedQueue, Ticket};
use sync::{Mutex, lock};

/// Completes `ticket` and drains if elected, as the data plane does.
fn complete(queue: &OrderedQueue<u32>, ticket: Ticket, result: u32, delivered: &Mutex<Vec<u32>>) {
    if let Some(mut drainer) = queue.complete(ticket, result) {
        while let Some(result) = drainer.next() {
            lock(delivered).push(result);
        }
    }
}

#[test]
fn every_result_is_delivered_once_and_in_order() {
    loom::model(|| {
        let queue = Arc::new(OrderedQueue::new(4));
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let tickets: Vec<Ticket> = (0..3).map(|_| queue.reserve().expect("room")).collect();
        let threads: Vec<_> = (0..)
            .zip(tickets)
            .map(|(n, ticket)| {
                let (queue, delivered) = (queue.clone(), delivered.clone());
                thread::spawn(move || complete(&queue, ticket, n, &delivered))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(*lock(&delivered), [0, 1, 2]);
    });
}

#[test]
fn places_reserved_while_another_thread_drains_are_not_forgotten() {
    loom::model(|| {
        let queue = Arc::new(OrderedQueue::new(4));
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let first = queue.reserve().expect("room");
        let other = {
            let (queue, delivered) = (queue.clone(), delivered.clone());
            thread::spawn(move || complete(&queue, first, 0, &delivered))
        };
        let second = queue.reserve().expect("room");
        complete(&queue, second, 1, &delivered);
        other.join().expect("no panic");
        assert_eq!(*lock(&delivered), [0, 1]);
    });
}

#[test]
fn after_quiesce_nothing_taken_earlier_is_still_being_delivered() {
    loom::model(|| {
        let queue = Arc::new(OrderedQueue::new(4));
        let removed = Arc::new(Mutex::new(false));
        let late = Arc::new(Mutex::new(false));
        let ticket = queue.reserve().expect("room");
        let drainer = {
            let (queue, removed, late) = (queue.clone(), removed.clone(), late.clone());
            thread::spawn(move || {
                if let Some(mut drainer) = queue.complete(ticket, 0) {
                    while let Some(_result) = drainer.next() {
                        // As `transmit_ready`: ask whether the keypair may be used, then send without the lock.
                        let usable = !*lock(&removed);
                        if usable {
                            *lock(&late) = true;
                        }
                    }
                }
            })
        };
        *lock(&removed) = true;
        queue.quiesce();
        let sent = *lock(&late);
        drainer.join().expect("no panic");
        assert_eq!(*lock(&late), sent, "sent after removal returned");
    });
}
