//! Counting the objects that are shared, when they are made and when they go, which no packet does: what shows a leak.
//!
//! Not here: what is counted where it lies, and what all of it means (see `objects`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::sync::{Mutex, lock};
use crate::proto::keypair::Keypair;

/// Counts objects of one kind; they hold a [`Counted`] each.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    gone: AtomicU64,
}

impl Tally {
    /// Counts an object that is being made; what is returned goes with it.
    pub(super) fn count(&self) -> Counted {
        self.counts.made.fetch_add(1, Ordering::Relaxed);
        Counted(self.counts.clone())
    }

    /// Returns how many were made and how many of them there are.
    pub(super) fn made_and_alive(&self) -> (u64, u64) {
        // Gone first: what goes in between is counted as alive.
        let gone = self.counts.gone.load(Ordering::Relaxed);
        let made = self.counts.made.load(Ordering::Relaxed);
        (made, made - gone)
    }
}

/// One counted object.
#[derive(Debug)]
pub(super) struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts keypairs, which the protocol makes and shares, so that no [`Counted`] can go with them: an eye is kept on
/// those that lost their index until they are gone.
#[derive(Debug, Default)]
pub(super) struct Keypairs {
    made: AtomicU64,
    released: Mutex<Vec<Weak<Keypair>>>,
}

impl Keypairs {
    /// Counts a keypair that is being published.
    pub(super) fn published(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of a keypair that lost its index. Packets in flight may hold it a little longer.
    pub(super) fn released(&self, keypair: &Arc<Keypair>) {
        let mut released = lock(&self.released);
        // A dead one keeps its memory, so it is let go of at the next opportunity: only a leak makes this long.
        released.retain(|keypair| keypair.strong_count() > 0);
        released.push(Arc::downgrade(keypair));
    }

    /// Returns how many were ever published.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Returns how many have lost their index and still live.
    pub(super) fn lingering(&self) -> usize {
        lock(&self.released).iter().filter(|keypair| keypair.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_no_longer_alive() {
        let tally = Tally::default();
        let [first, second] = [tally.count(), tally.count()];
        assert_eq!(tally.made_and_alive(), (2, 2));
        drop(first);
        assert_eq!(tally.made_and_alive(), (2, 1));
        drop(second);
        assert_eq!(tally.made_and_alive(), (2, 0));
    }
}
