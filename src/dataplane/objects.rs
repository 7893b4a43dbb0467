//! How much a device holds at a moment: what must be bounded while it runs, and gone when it is down.
//!
//! Not here: what it was asked to hold (see `configure`), what it dropped (see `stats`).

use std::fmt;

use super::device::{Device, IndexEntry};
use super::sync::read;

/// Counts of what a device holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Configured peers.
    pub peers: usize,
    /// Indices that stand for a handshake under way.
    pub handshakes: usize,
    /// Indices that stand for a keypair.
    pub keypairs: usize,
    /// Packets that wait for a key, of all peers.
    pub staged: usize,
    /// Entries in the heap of deadlines, outdated ones included.
    pub deadlines: usize,
    /// Handshake messages and requests that wait for their thread.
    pub queued: usize,
    /// Buffers that are not in the pool.
    pub buffers: usize,
}

impl Device {
    /// Counts what the device holds.
    ///
    /// # Locking
    /// The tables are locked one after the other, never together: under traffic the counts are of neighbouring moments.
    pub fn objects(&self) -> Objects {
        let keypairs = |entry: &&IndexEntry| matches!(entry, IndexEntry::Keypair(..));
        let indices = read(&self.indices);
        let (live, keypairs) = (indices.len(), indices.entries().filter(keypairs).count());
        drop(indices);
        Objects {
            peers: self.peers.len(),
            handshakes: live - keypairs,
            keypairs,
            staged: self.peers.all().iter().map(|peer| peer.state().staged.len()).sum(),
            deadlines: self.deadlines.len(),
            queued: self.handshakes.len(),
            buffers: self.pool.lent(),
        }
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peers, handshakes, keypairs, staged, deadlines, queued, buffers } = self;
        write!(
            f,
            "{peers} peers, {handshakes} handshakes, {keypairs} keypairs, {staged} staged packets, \
             {deadlines} deadlines, {queued} queued messages, {buffers} buffers"
        )
    }
}
