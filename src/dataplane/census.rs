//! How many objects a device has at one moment, and how many it ever made: what shows a leak.
//!
//! Peers and keypairs are counted when they are made and when they go, which no packet does; the rest is counted in the
//! structures that own it, when it is asked for. Not here: packets that were dropped (see `stats`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::device::{Device, IndexEntry};
use super::sync::{Mutex, lock, read};
use crate::proto::keypair::Keypair;

/// The objects of a device. Once it is down and its threads have ended, [`Census::is_balanced`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Peers ever made.
    pub peers_made: u64,
    /// Peers whose memory is not given back.
    pub peers_alive: u64,
    /// Peers there are.
    pub peers_configured: usize,
    /// Keypairs ever made.
    pub keypairs_made: u64,
    /// Keypairs whose keys are not wiped.
    pub keypairs_alive: usize,
    /// Indices of handshakes and keypairs.
    pub indices: usize,
    /// Packets that wait for a key.
    pub staged: usize,
    /// Peers with a timer that is armed.
    pub timers: usize,
    /// Entries in the heap of deadlines: one for a peer with a timer, and those of earlier deadlines until they are due.
    pub deadlines: usize,
    /// Prefixes that the peers list.
    pub prefixes_listed: usize,
    /// Prefixes that packets are routed by.
    pub prefixes_routed: usize,
    /// Buffers ever made; none is unmade.
    pub buffers_made: usize,
    /// Buffers that nobody uses.
    pub buffers_idle: usize,
}

impl Census {
    /// Tells whether a device that is down holds nothing but its configuration.
    pub fn is_balanced(&self) -> bool {
        self.peers_alive == self.peers_configured as u64
            && self.keypairs_alive == 0
            && self.indices == 0
            && self.staged == 0
            && self.timers == 0
            && self.prefixes_routed == self.prefixes_listed
            && self.buffers_idle == self.buffers_made
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peers: {} made, {} configured, {} alive; keypairs: {} made, {} alive; {} indices; {} packets staged; \
             timers: {} armed, {} deadlines; prefixes: {} listed, {} routed; buffers: {} made, {} idle",
            self.peers_made,
            self.peers_configured,
            self.peers_alive,
            self.keypairs_made,
            self.keypairs_alive,
            self.indices,
            self.staged,
            self.timers,
            self.deadlines,
            self.prefixes_listed,
            self.prefixes_routed,
            self.buffers_made,
            self.buffers_idle
        )
    }
}

impl Device {
    /// Counts the objects.
    ///
    /// # Locking
    /// One lock after the other: while the device runs, the counts need not be of one moment.
    pub fn census(&self) -> Census {
        let (buffers_made, buffers_idle) = self.pool.count();
        let peers = self.peers.all();
        let (peers_made, peers_alive, prefixes_listed, prefixes_routed) = {
            let routes = read(&self.routes);
            let (made, alive) = routes.peers_made_and_alive();
            let listed = peers.iter().map(|peer| routes.prefixes(peer.id).len()).sum();
            (made, alive, listed, routes.len())
        };
        let (indices, in_use) = {
            let table = read(&self.indices);
            (table.len(), table.entries().filter(|entry| matches!(entry, IndexEntry::Keypair(..))).count())
        };
        Census {
            peers_made,
            peers_alive,
            peers_configured: peers.len(),
            keypairs_made: self.keypairs.made.load(Ordering::Relaxed),
            keypairs_alive: in_use + self.keypairs.lingering(),
            indices,
            staged: peers.iter().map(|peer| peer.state().staged.len()).sum(),
            timers: peers.iter().filter(|peer| peer.state().core.poll_timeout().is_some()).count(),
            deadlines: self.deadlines.len(),
            prefixes_listed,
            prefixes_routed,
            buffers_made,
            buffers_idle,
        }
    }
}

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

    /// Returns how many have lost their index and still live.
    fn lingering(&self) -> usize {
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
