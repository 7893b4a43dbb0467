//! The locks of the data plane, and how they are taken.
//!
//! `tests/loom_queue.rs` compiles `queue.rs` with a `sync` of its own, `tests/loom/` all rooms below `control` with a
//! `crate::locks` of its own; both over loom's types.

use std::sync::PoisonError;

pub(super) use crate::locks::{Condvar, Mutex, MutexGuard, RwLock, yield_now};
use crate::locks::{RwLockReadGuard, RwLockWriteGuard};

/// Locks `mutex`. A poisoned lock is taken all the same: a panic in any thread ends the process in order (see
/// `workers`), and until then the others must be able to let go of what they hold.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar`; poisoning as in [`lock`].
pub(super) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading; poisoning as in [`lock`].
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing; poisoning as in [`lock`].
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
