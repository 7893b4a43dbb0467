//! Waiting: the signal a packet thread sleeps on, and the bound of every wait of a test.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a test waits for an event before it fails. Generous: a loaded machine is slow, a lost event never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tells the sleepers of one host that something may be ready.
///
/// A change is published in two steps: change the state under its own lock, then [`Signal::raise`]. A sleeper looks at
/// the state while it holds the signal's lock, so a change is either seen or its raise comes after the sleeper waits.
///
/// # Locking
/// The signal's lock is taken before that of a TUN or of the internet, never after.
#[derive(Default)]
pub(super) struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Has sleepers look again.
    pub(super) fn raise(&self) {
        let _woken = lock(&self.woken);
        self.changed.notify_all();
    }

    /// Makes the current or the next wait return.
    pub(super) fn wake(&self) {
        *lock(&self.woken) = true;
        self.changed.notify_all();
    }

    /// Waits until `ready` returns something, or until a wake came: then returns what `ready` returns, or the default.
    pub(super) fn wait_for<T: Default>(&self, ready: impl Fn() -> Option<T>) -> T {
        let mut woken = lock(&self.woken);
        loop {
            let result = ready();
            if std::mem::take(&mut *woken) || result.is_some() {
                return result.unwrap_or_default();
            }
            woken = self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Locks `mutex`; a panic of another holder is that holder's failure, not ours.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `reached` is true of the state, at most `patience`; returns the state as it is then.
pub(super) fn wait_until<'a, T>(
    guard: MutexGuard<'a, T>,
    changed: &Condvar,
    patience: Duration,
    mut reached: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    changed.wait_timeout_while(guard, patience, |state| !reached(state)).unwrap_or_else(PoisonError::into_inner).0
}
