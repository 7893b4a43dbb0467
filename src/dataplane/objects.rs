//! How much a device holds at a moment, and how much it ever made: what must be bounded while it runs, and gone when it is
//! down.
//!
//! Not here: what it was asked to hold (see `configure`), what it dropped (see `stats`).

use std::fmt;

use super::device::{Device, IndexEntry};
use super::sync::read;

/// Counts of what a device holds and made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Objects {
    /// Configured peers.
    pub peers: usize,
    /// Peers that were removed and whose memory is not given back.
    pub removed_peers: u64,
    /// Indices that stand for a handshake under way.
    pub handshakes: usize,
    /// Indices that stand for a keypair.
    pub keypairs: usize,
    /// Keypairs that have lost their index and whose keys are not wiped.
    pub lingering_keypairs: usize,
    /// Packets that wait for a key, of all peers.
    pub staged: usize,
    /// Peers with a timer that is armed.
    pub timers: usize,
    /// Entries in the heap of deadlines: one for a peer with a timer, and those of earlier deadlines until they are due.
    pub deadlines: usize,
    /// Prefixes that the peers list.
    pub prefixes: usize,
    /// Prefixes that packets are routed by.
    pub routes: usize,
    /// Handshake messages and requests that wait for their thread.
    pub queued: usize,
    /// Buffers that are not in the pool.
    pub buffers: usize,
    /// Peers ever made.
    pub peers_made: u64,
    /// Keypairs ever made.
    pub keypairs_made: u64,
    /// Buffers ever made; none is unmade.
    pub buffers_made: usize,
}

impl Objects {
    /// Tells whether a device that is down, its threads ended, holds nothing but its configuration.
    pub fn is_balanced(&self) -> bool {
        let left = self.handshakes + self.keypairs + self.lingering_keypairs + self.staged + self.timers + self.buffers;
        self.removed_peers == 0 && left == 0 && self.routes == self.prefixes
    }
}

impl Device {
    /// Counts what the device holds and made.
    ///
    /// # Locking
    /// The tables are locked one after the other, never together: under traffic the counts are of neighbouring moments.
    pub fn objects(&self) -> Objects {
        let peers = self.peers.all();
        let (peers_made, peers_alive, prefixes, routes) = {
            let routes = read(&self.routes);
            let (made, alive) = routes.peers_made_and_alive();
            (made, alive, peers.iter().map(|peer| routes.prefixes(peer.id).len()).sum(), routes.len())
        };
        let (indices, keypairs) = {
            let indices = read(&self.indices);
            (indices.len(), indices.entries().filter(|entry| matches!(entry, IndexEntry::Keypair(..))).count())
        };
        let (messages, requests) = self.handshakes.waiting();
        let (buffers_made, buffers_idle) = self.pool.count();
        Objects {
            peers: peers.len(),
            removed_peers: peers_alive.saturating_sub(peers.len() as u64),
            handshakes: indices - keypairs,
            keypairs,
            lingering_keypairs: self.keypairs.lingering(),
            staged: peers.iter().map(|peer| peer.state().staged.len()).sum(),
            timers: peers.iter().filter(|peer| peer.state().core.poll_timeout().is_some()).count(),
            deadlines: self.deadlines.len(),
            prefixes,
            routes,
            queued: messages + requests,
            buffers: buffers_made - buffers_idle,
            peers_made,
            keypairs_made: self.keypairs.made(),
            buffers_made,
        }
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peers, removed_peers, handshakes, keypairs, lingering_keypairs, staged, timers, .. } = self;
        let Self { deadlines, prefixes, routes, queued, buffers, peers_made, keypairs_made, buffers_made, .. } = self;
        write!(
            f,
            "{peers} peers, {removed_peers} removed peers, {handshakes} handshakes, {keypairs} keypairs, \
             {lingering_keypairs} lingering keypairs, {staged} staged packets, {timers} timers, {deadlines} deadlines, \
             {prefixes} prefixes, {routes} routes, {queued} queued messages, {buffers} buffers; \
             made {peers_made} peers, {keypairs_made} keypairs, {buffers_made} buffers"
        )
    }
}
