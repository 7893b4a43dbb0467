//! A peer as the data plane holds it: the protocol's state machine behind a mutex, what is staged for it, and its two
//! ordered queues.
//!
//! Not here: routes to it (see `routes`), rules (see `proto::peer`).
//!
//! # Locking
//! `state` is held for decisions only: never over a system call, AEAD or Diffie-Hellman. Under it the index table and
//! the queues may be locked, never another peer.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::candidates::Candidates;
use super::counters::{Handshakes, PeerDrops};
use super::evidence::PeerEvidence;
use super::path_mtu::Path;
use super::queue::OrderedQueue;
use super::rate::Limits;
use super::receive::Inbound;
use super::send::Outbound;
use super::sync::{Mutex, MutexGuard, lock};
use super::tally::Counted;
use crate::proto::constants::{MAX_STAGED_BYTES, MAX_STAGED_PACKETS};
use crate::proto::endpoint::Source;
use crate::proto::keys::{PublicKey, SharedSecret};
use crate::proto::peer::Peer as Core;
use crate::proto::time::Instant;

/// The slot of a peer in the routing table; reused after the peer and all its prefixes are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PeerId(pub(super) u32);

/// One peer of a device.
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) public_key: PublicKey,
    /// What people call it: for the log and for whoever asks. Nothing else is locked while it is.
    name: Mutex<Option<Arc<str>>>,
    state: Mutex<PeerState>,
    pub(super) outbound: OrderedQueue<Outbound>,
    pub(super) inbound: OrderedQueue<Inbound>,
    pub(super) drops: PeerDrops,
    _counted: Counted,
}

/// What changes about a peer.
pub(super) struct PeerState {
    pub(super) core: Core,
    /// Where the operator says that it may be; `None` if he says nothing but an endpoint.
    pub(super) candidates: Option<Candidates>,
    /// The endpoint when a handshake last completed or routes changed, and from where datagrams went there.
    pub(super) way: Option<(SocketAddr, Source)>,
    /// There is no way there any more.
    pub(super) way_is_lost: bool,
    pub(super) staged: Staged,
    /// The deadline that is in the deadline thread's heap, if any; never later than the core's.
    pub(super) scheduled: Option<Instant>,
    /// An initiation is asked for and not yet begun: at most one request per peer is queued.
    pub(super) initiating: bool,
    pub(super) handshakes: Handshakes,
    /// What went wrong with it.
    pub(super) evidence: PeerEvidence,
    pub(super) path: Path,
    /// A file of its own describes it: it stays when all peers are replaced.
    pub(super) is_from_file: bool,
    /// Limits on what it may send and be sent; `None` if there are none, as for most peers.
    pub(super) limits: Option<Box<Limits>>,
    /// The endpoint that was configured; the core's is where the peer was last heard from.
    pub(super) configured: Option<SocketAddr>,
}

impl Peer {
    /// Makes a peer that is down.
    pub(super) fn new(
        id: PeerId,
        public_key: PublicKey,
        static_static: Option<SharedSecret>,
        counted: Counted,
    ) -> Self {
        let state = PeerState {
            core: Core::new(public_key, static_static),
            candidates: None,
            way: None,
            way_is_lost: false,
            staged: Staged::default(),
            scheduled: None,
            initiating: false,
            handshakes: Handshakes::default(),
            evidence: PeerEvidence::default(),
            path: Path::default(),
            is_from_file: false,
            limits: None,
            configured: None,
        };
        Self {
            id,
            public_key,
            name: Mutex::new(None),
            state: Mutex::new(state),
            outbound: OrderedQueue::new(MAX_QUEUED_BATCHES),
            inbound: OrderedQueue::new(MAX_QUEUED_BATCHES),
            drops: PeerDrops::default(),
            _counted: counted,
        }
    }

    /// Locks the state. After a change, go through `Device::settle`.
    pub(super) fn state(&self) -> MutexGuard<'_, PeerState> {
        lock(&self.state)
    }

    /// Returns what people call it; `None` if it has no name.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        lock(&self.name).clone()
    }

    /// Gives it another name, or none.
    pub(super) fn rename(&self, name: Option<Arc<str>>) {
        *lock(&self.name) = name;
    }

    /// Returns what it is called in events and in the log.
    pub(super) fn label(&self) -> PeerLabel {
        PeerLabel { public_key: self.public_key, name: self.name() }
    }
}

/// Which peer is spoken of, to people: the name it had at that moment, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLabel {
    /// Its static public key.
    pub public_key: PublicKey,
    /// What people call it.
    pub name: Option<Arc<str>>,
}

/// The name, if there is one, and the beginning of the key.
impl fmt::Display for PeerLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({:?})", self.public_key),
            None => write!(f, "{:?}", self.public_key),
        }
    }
}

/// A packet that waits for a key: a finished IP packet, or empty for a keepalive.
pub(super) struct StagedPacket {
    pub(super) bytes: Box<[u8]>,
    /// DS byte of the outer header.
    pub(super) ds: u8,
}

/// Packets that wait for a key, oldest first; bounded, the oldest makes room for the newest.
#[derive(Default)]
pub(super) struct Staged {
    packets: VecDeque<StagedPacket>,
    bytes: usize,
}

impl Staged {
    /// Appends `packet`; returns how many older ones were dropped for it.
    pub(super) fn push(&mut self, packet: StagedPacket) -> usize {
        self.bytes += packet.bytes.len();
        self.packets.push_back(packet);
        let mut dropped = 0;
        while self.packets.len() > MAX_STAGED_PACKETS || self.bytes > MAX_STAGED_BYTES {
            let Some(oldest) = self.packets.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
            dropped += 1;
        }
        dropped
    }

    /// Takes all, oldest first. The memory goes with them: staging is rare, peers are many.
    pub(super) fn take(&mut self) -> Vec<StagedPacket> {
        self.bytes = 0;
        std::mem::take(&mut self.packets).into()
    }

    /// Returns those that wait, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &StagedPacket> {
        self.packets.iter()
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Tells whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

/// Batches of one peer and direction in flight; the packet thread is a batch ahead of each worker at most, so this is
/// reached only if a drainer is stuck in a full socket.
const MAX_QUEUED_BATCHES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize, mark: u8) -> StagedPacket {
        StagedPacket { bytes: vec![mark; len].into(), ds: 0 }
    }

    #[test]
    fn the_oldest_staged_packet_makes_room() {
        let mut staged = Staged::default();
        let dropped: usize = (0..200).map(|n| staged.push(packet(10, n))).sum();
        assert_eq!(dropped, 200 - MAX_STAGED_PACKETS);
        let kept: Vec<u8> = staged.take().iter().map(|packet| packet.bytes[0]).collect();
        assert_eq!(kept, (72..200).collect::<Vec<u8>>());
        assert!(staged.is_empty());
    }

    #[test]
    fn staged_bytes_are_bounded() {
        let mut staged = Staged::default();
        for _ in 0..10 {
            staged.push(packet(60_000, 0));
        }
        assert_eq!(staged.len(), MAX_STAGED_BYTES / 60_000);
    }
}
