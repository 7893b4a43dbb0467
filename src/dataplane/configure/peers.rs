//! The peers' side of configuration: identity, peers, allowed IPs.
//!
//! Not here: the course of a change (see the parent), routing itself (see `routes`).

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::{AllowedIpChange, ApplyError, Change, PeerChange};
use crate::dataplane::device::Device;
use crate::dataplane::events::EventKind;
use crate::dataplane::handshakes::LocalIdentity;
use crate::dataplane::peer::Peer;
use crate::dataplane::sync::{read, write};
use crate::dataplane::workers::Context;
use crate::proto::allowedips::Prefix;
use crate::proto::constants::MAX_PEERS;
use crate::proto::handshake::Identity;
use crate::proto::keys::{PrivateKey, PublicKey, SharedSecret};

impl Device {
    /// Counts how many peers there would be at most.
    pub(super) fn check_peers(&self, change: &Change) -> Result<(), ApplyError> {
        let kept = self.peers.len() - if change.replace_peers { self.replaceable_peers().len() } else { 0 };
        let added: HashSet<&PublicKey> =
            change.peers.iter().filter(|peer| !peer.remove && !peer.update_only).map(|peer| &peer.public_key).collect();
        let known = if change.replace_peers {
            0
        } else {
            added.iter().filter(|public_key| self.peers.lookup(public_key).is_some()).count()
        };
        if kept + added.len() - known > MAX_PEERS { Err(ApplyError::TooManyPeers) } else { Ok(()) }
    }

    /// Returns the peers that go when all are replaced.
    pub(super) fn replaceable_peers(&self) -> Vec<Arc<Peer>> {
        let mut peers = self.peers.all();
        peers.retain(|peer| !peer.state().is_from_file);
        peers
    }

    /// Replaces the identity (protocol 13.1). The secrets with all peers are computed before, with no lock held that a
    /// packet needs; then the change is one step as far as handshakes can see.
    pub(super) fn apply_private_key(&self, context: &mut Context, private_key: Option<PrivateKey>, up: bool) {
        let before = self.identity();
        if before.as_ref().map(|local| local.identity.private_key()) == private_key.as_ref() {
            return;
        }
        let local = private_key.map(|private_key| Arc::new(LocalIdentity::new(private_key)));
        if let Some(own) = local.as_ref().and_then(|local| self.peers.lookup(local.identity.public_key())) {
            self.remove_peers(context, &[own]);
        }
        let peers = self.peers.all();
        let public_keys: Vec<PublicKey> = peers.iter().map(|peer| peer.public_key).collect();
        let secrets = static_secrets(local.as_ref().map(|local| &local.identity), &public_keys);
        let _exclusive = self.pause_handshakes();
        let first_identity = before.is_none() && local.is_some();
        let is_removed = local.is_none();
        *write(&self.identity) = local;
        for (peer, secret) in peers.iter().zip(secrets) {
            self.with_peer(context, peer, |state, _| {
                state.handshakes.called_off();
                state.core.identity_changed(secret);
            });
        }
        if first_identity && up {
            peers.iter().for_each(|peer| self.flush(context, peer));
        }
        if is_removed {
            self.announce(None, EventKind::PrivateKeyRemoved);
        }
    }

    /// Computes the secrets with the peers that the changes may make.
    pub(super) fn secrets_of_new(&self, changes: &[PeerChange]) -> HashMap<PublicKey, SharedSecret> {
        // One that is known may be removed before it is made anew.
        let removed: HashSet<_> =
            changes.iter().filter(|change| change.remove).map(|change| change.public_key).collect();
        let unknown = |public_key: &PublicKey| self.peers.lookup(public_key).is_none() || removed.contains(public_key);
        let made = changes.iter().filter(|change| !change.remove).map(|change| change.public_key).filter(unknown);
        let made: Vec<PublicKey> = made.collect::<HashSet<_>>().into_iter().collect();
        let local = self.identity();
        let secrets = static_secrets(local.as_ref().map(|local| &local.identity), &made);
        made.into_iter().zip(secrets).filter_map(|(peer, secret)| Some((peer, secret?))).collect()
    }

    pub(super) fn apply_peer(&self, context: &mut Context, change: PeerChange, secret: Option<SharedSecret>, up: bool) {
        let known = self.peers.lookup(&change.public_key);
        if change.remove {
            return self.remove_peers(context, known.as_slice());
        }
        let (peer, is_new) = match known {
            Some(peer) => (peer, false),
            None if change.update_only => return,
            None => {
                // Our own key is never a peer; accepted and ignored, as by the kernel.
                if self.identity().is_some_and(|local| *local.identity.public_key() == change.public_key) {
                    return;
                }
                (write(&self.routes).add_peer(change.public_key, secret), true)
            }
        };
        if let Some(name) = change.name {
            peer.rename(name);
        }
        let now = self.platform.clock.now();
        {
            let mut state = peer.state();
            state.is_from_file |= change.is_from_file;
            if let Some(preshared_key) = change.preshared_key {
                state.core.set_preshared_key(preshared_key);
            }
            if let Some(endpoint) = change.endpoint {
                state.configured = Some(endpoint);
                state.core.set_endpoint(endpoint);
            }
            if let Some(secs) = change.persistent_keepalive {
                state.core.set_persistent_keepalive(now, secs);
            }
            if change.rate_up.is_some() || change.rate_down.is_some() {
                let mut limits = state.limits.take().unwrap_or_default();
                limits.set(now, change.rate_up, change.rate_down);
                state.limits = Some(limits).filter(|limits| !limits.is_empty());
            }
        }
        if is_new {
            self.announce(Some(&peer), EventKind::PeerAdded);
        }
        if let Some(order) = change.order {
            peer.state().core.set_order(order);
        }
        let has_names = change.candidates.is_some_and(|candidates| self.apply_candidates(&peer, candidates));
        self.apply_allowed_ips(&peer, change.replace_allowed_ips, &change.allowed_ips);
        if is_new {
            // Only now can a handshake find it: it is complete.
            self.peers.insert(peer.clone());
        }
        self.with_peer(context, &peer, |state, _| {
            if is_new && up {
                state.core.up(now);
            }
        });
        if has_names {
            // Whoever looks them up finds it by now.
            self.wanted.add(&peer);
        }
        self.flush(context, &peer);
    }

    /// Applies the difference between the peer's prefixes and what is asked for, in steps of bounded length: between
    /// two steps every prefix has the owner it had or the one it will have.
    fn apply_allowed_ips(&self, peer: &Arc<Peer>, replace: bool, changes: &[AllowedIpChange]) {
        let before = if replace { read(&self.routes).prefixes(peer.id).to_vec() } else { Vec::new() };
        let mut gone: HashSet<Prefix> = before.iter().copied().collect();
        for change in changes {
            match change {
                AllowedIpChange::Add(prefix) => gone.remove(prefix),
                AllowedIpChange::Remove(prefix) => gone.insert(*prefix),
            };
        }
        let added: Vec<Prefix> = changes
            .iter()
            .filter_map(|change| match change {
                AllowedIpChange::Add(prefix) if !gone.contains(prefix) => Some(*prefix),
                _ => None,
            })
            .collect();
        if before != added {
            for prefixes in added.chunks(PREFIXES_PER_STEP) {
                let stolen = write(&self.routes).insert(peer.id, prefixes);
                for (prefix, owner) in stolen {
                    self.announce(Some(&owner), EventKind::AllowedIpStolen { prefix, by: peer.label() });
                }
            }
        }
        let gone: Vec<Prefix> = gone.into_iter().collect();
        for prefixes in gone.chunks(PREFIXES_PER_STEP) {
            write(&self.routes).remove(peer.id, &prefixes.iter().copied().collect());
        }
    }

    /// Removes peers: first they cannot be found, then their keys go, then what is in flight is waited out.
    pub(super) fn remove_peers(&self, context: &mut Context, peers: &[Arc<Peer>]) {
        for peer in peers {
            self.peers.remove(&peer.public_key);
            write(&self.routes).remove_peer(peer.id);
        }
        self.silence(context, peers);
        peers.iter().for_each(|peer| self.announce(Some(peer), EventKind::PeerRemoved));
    }

    /// Starts peers afresh: their sessions go, and what was learnt of their endpoints. What was configured stays, and so do
    /// counters.
    pub(super) fn restart(&self, context: &mut Context, peers: &[Arc<Peer>], up: bool) {
        self.silence(context, peers);
        let now = self.platform.clock.now();
        for peer in peers {
            self.with_peer(context, peer, |state, _| {
                state.core.replace_endpoint(state.configured);
                if up {
                    state.core.up(now);
                }
            });
        }
    }

    /// Takes the peers' sessions and timers away and waits until what was begun with them is through: a batch that is
    /// being sent or delivered, and a handshake message that is being sent.
    pub(super) fn silence(&self, context: &mut Context, peers: &[Arc<Peer>]) {
        for peer in peers {
            // Its entry among the deadlines stays: taking it out is dear, and one that is too early does no harm.
            self.with_peer(context, peer, |state, _| {
                state.handshakes.called_off();
                state.core.down();
            });
        }
        if !peers.is_empty() {
            drop(self.pause_handshakes());
        }
        for peer in peers {
            peer.outbound.quiesce();
            peer.inbound.quiesce();
        }
    }
}

/// Computes the static-static secrets of `identity` with `peers`: by all cores if there are many, for 20 µs each make two
/// seconds of a hundred thousand.
fn static_secrets(identity: Option<&Identity>, peers: &[PublicKey]) -> Vec<Option<SharedSecret>> {
    let compute = |peer: &PublicKey| identity.and_then(|identity| identity.static_static(peer));
    if peers.len() < WORTH_A_THREAD {
        return peers.iter().map(compute).collect();
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let parts = peers.chunks(peers.len().div_ceil(cores)).map(|part| {
            let secrets = move || part.iter().map(compute).collect::<Vec<_>>();
            (part, thread::Builder::new().spawn_scoped(scope, secrets))
        });
        // All are begun before the first is waited for.
        let parts: Vec<_> = parts.collect();
        let secrets = parts.into_iter().flat_map(|(part, thread)| match thread {
            Ok(thread) => thread.join().expect("X25519 does not panic"),
            // The system has no room for a thread: this one does its part.
            Err(_) => part.iter().map(compute).collect(),
        });
        secrets.collect()
    })
}

/// Prefixes per hold of the routing lock: about 1 ms at 200 ns each would be 5,000; packets wait for a fifth of that.
const PREFIXES_PER_STEP: usize = 1000;

/// Peers from which on other cores are asked to help.
const WORTH_A_THREAD: usize = 256;
