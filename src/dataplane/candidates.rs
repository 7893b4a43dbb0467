//! Where peers may be reached, as the operator says it: addresses, and names that somebody else looks up.
//!
//! ```text
//!   configuration ─► list ─► addresses of it ─────────────► proto: races, fail-over
//!                      │                                        ▲        │
//!                      └─► wanted ─► who looks names up ────────┘ ◄──────┘ silence
//! ```
//! A device without names is not concerned: nobody is woken, nothing is wanted.
//!
//! Not here: looking up (see `control::names`), what is done with addresses (see `proto::candidates`).
//!
//! # Locking
//! `wanted` is taken under no lock and none is taken under it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::device::Device;
use super::events::EventKind;
use super::peer::Peer;
use super::sync::{Mutex, lock};
use super::workers::Context;
use crate::proto::keys::PublicKey;

/// One place where a peer may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// An address and a port.
    Address(SocketAddr),
    /// The name of a host, and a port.
    Name {
        /// The name, as DNS has it.
        host: Arc<str>,
        /// The UDP port.
        port: u16,
    },
}

/// What the operator said of one peer. Two lists are the same only if they are the same piece of memory: so an answer to a
/// question about an older list is told from one about this.
pub type Candidates = Arc<[Candidate]>;

/// Peers whose names are to be looked up, and who is told that there are any.
#[derive(Default)]
pub(super) struct Wanted {
    peers: Mutex<Vec<PublicKey>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Wanted {
    pub(super) fn add(&self, peer: &Peer) {
        let Some(wake) = self.wake.get() else { return };
        let mut peers = lock(&self.peers);
        if !peers.contains(&peer.public_key) {
            peers.push(peer.public_key);
        }
        drop(peers);
        wake();
    }
}

impl Device {
    /// Returns the firewall mark of the sockets; 0 is none.
    pub fn mark(&self) -> u32 {
        self.mark.load(Ordering::Relaxed)
    }

    /// Has `wake` called whenever [`Device::wanted_names`] has something to tell, first of all about the peers there are;
    /// once per device. It must not block.
    pub fn on_wanted_names(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // A second one would take the first one's work.
        let _ = self.wanted.wake.set(wake);
        self.peers.all().iter().filter(|peer| peer.state().candidates.as_deref().is_some_and(has_name)).for_each(
            |peer| {
                self.wanted.add(peer);
            },
        );
    }

    /// Returns the peers whose names are to be looked up now, because they are new or the peer does not answer, with all
    /// their candidates. Each is told once.
    pub fn wanted_names(&self) -> Vec<(PublicKey, Candidates)> {
        let wanted = std::mem::take(&mut *lock(&self.wanted.peers));
        wanted.into_iter().filter_map(|public_key| Some((public_key, self.candidates_of(&public_key)?))).collect()
    }

    /// Returns the candidates of a peer; `None` if it has no name among them, or is gone.
    pub fn candidates_of(&self, public_key: &PublicKey) -> Option<Candidates> {
        let candidates = self.peers.lookup(public_key)?.state().candidates.clone()?;
        has_name(&candidates).then_some(candidates)
    }

    /// Takes what the names of `candidates` point to, in order, numeric addresses included. Nothing happens if the peer
    /// has another list by now. Tells whether it was taken.
    pub fn use_addresses(&self, public_key: &PublicKey, candidates: &Candidates, addresses: Vec<SocketAddr>) -> bool {
        let Some(peer) = self.peers.lookup(public_key) else { return false };
        let now = self.platform.clock.now();
        let (is_same, from, to) = self.with_peer(&mut Context::new(self), &peer, |state, _| {
            let is_same = state.candidates.as_ref().is_some_and(|own| Arc::ptr_eq(own, candidates));
            let from = state.core.endpoint().map(|endpoint| endpoint.remote);
            (is_same, from, is_same.then(|| state.core.set_candidates(now, addresses)).flatten())
        });
        if let Some(to) = to {
            self.announce(Some(&peer), EventKind::EndpointChanged { from, to });
        }
        is_same
    }

    /// Gives a peer another list; tells whether there are names in it that were not there.
    pub(super) fn apply_candidates(&self, peer: &Peer, list: Vec<Candidate>) -> bool {
        let now = self.platform.clock.now();
        let mut state = peer.state();
        let before = state.candidates.take();
        if before.as_deref() == Some(&list[..]) {
            // The same list again, as by a reload, is no reason to ask anybody or to forget what is known.
            state.candidates = before;
            return false;
        }
        if list.is_empty() {
            state.core.forget_candidates();
            return false;
        }
        let addresses = list.iter().filter_map(Candidate::address).collect();
        let has_name = has_name(&list);
        state.candidates = Some(list.into());
        // With a name, the list is whole only when that is looked up; until then the numeric ones are better than none.
        state.core.set_candidates(now, addresses);
        has_name
    }
}

impl Candidate {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

fn has_name(candidates: &[Candidate]) -> bool {
    candidates.iter().any(|candidate| matches!(candidate, Candidate::Name { .. }))
}
