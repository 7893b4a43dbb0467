//! Cryptokey routing of a device: from an address to its peer, and from a peer to its prefixes in order.
//!
//! # Locking
//! One read-write lock around all of it (in `Device`): read once per batch by the packet ways, written by
//! configuration in short steps, each of which leaves every prefix with exactly the owner it had or will have.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::peer::{Peer, PeerId};
use super::tally::Tally;
use crate::proto::allowedips::{AllowedIps, Prefix};
use crate::proto::keys::{PublicKey, SharedSecret};

/// Peers by slot, and who owns which prefix.
pub(super) struct Routes {
    allowed_ips: AllowedIps<PeerId>,
    slots: Vec<Option<Slot>>,
    free: Vec<PeerId>,
    tally: Tally,
}

struct Slot {
    peer: Arc<Peer>,
    /// The peer's prefixes in the order they were added; one that is added again moves to the end.
    prefixes: Vec<Prefix>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { allowed_ips: AllowedIps::new(), slots: Vec::new(), free: Vec::new(), tally: Tally::default() }
    }

    /// Returns the peer whose allowed IPs contain `address` most specifically.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<PeerId> {
        self.allowed_ips.lookup(address)
    }

    /// Returns the peer in a slot.
    pub(super) fn peer(&self, id: PeerId) -> Option<&Arc<Peer>> {
        self.slots.get(id.0 as usize)?.as_ref().map(|slot| &slot.peer)
    }

    /// Returns the number of prefixes that have an owner.
    pub(super) fn len(&self) -> usize {
        self.allowed_ips.len()
    }

    /// Returns how many peers were ever made, and how many of them are alive.
    pub(super) fn peers_made_and_alive(&self) -> (u64, u64) {
        self.tally.made_and_alive()
    }

    /// Returns the prefixes of a peer in order.
    pub(super) fn prefixes(&self, id: PeerId) -> &[Prefix] {
        self.slots.get(id.0 as usize).and_then(Option::as_ref).map_or(&[], |slot| &slot.prefixes)
    }

    /// Makes a peer in a free slot, without prefixes.
    pub(super) fn add_peer(&mut self, public_key: PublicKey, static_static: Option<SharedSecret>) -> Arc<Peer> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            PeerId(self.slots.len() as u32 - 1)
        });
        let peer = Arc::new(Peer::new(id, public_key, static_static, self.tally.count()));
        self.slots[id.0 as usize] = Some(Slot { peer: peer.clone(), prefixes: Vec::new() });
        peer
    }

    /// Removes a peer and its prefixes, in time proportional to these.
    pub(super) fn remove_peer(&mut self, id: PeerId) {
        if let Some(slot) = self.slots[id.0 as usize].take() {
            for prefix in slot.prefixes {
                self.allowed_ips.remove(prefix, id);
            }
            self.free.push(id);
        }
    }

    /// Gives `prefixes` to the peer. Returns those that were another peer's, with that peer.
    pub(super) fn insert(&mut self, id: PeerId, prefixes: &[Prefix]) -> Vec<(Prefix, Arc<Peer>)> {
        let mut moved: HashMap<PeerId, HashSet<Prefix>> = HashMap::new();
        let mut stolen = Vec::new();
        for &prefix in prefixes {
            let Some(owner) = self.allowed_ips.insert(prefix, id) else { continue };
            moved.entry(owner).or_default().insert(prefix);
            if let Some(peer) = self.peer(owner).filter(|_| owner != id) {
                stolen.push((prefix, peer.clone()));
            }
        }
        for (owner, gone) in &moved {
            if let Some(slot) = &mut self.slots[owner.0 as usize] {
                slot.prefixes.retain(|prefix| !gone.contains(prefix));
            }
        }
        if let Some(slot) = &mut self.slots[id.0 as usize] {
            // A prefix that is listed twice was this peer's own at the second time, so only `own` can hold repeats.
            let own = moved.remove(&id).unwrap_or_default();
            let mut listed = HashSet::new();
            slot.prefixes.extend(prefixes.iter().filter(|prefix| !own.contains(*prefix) || listed.insert(**prefix)));
        }
        stolen
    }

    /// Takes `prefixes` from the peer; those it does not own are left alone.
    pub(super) fn remove(&mut self, id: PeerId, prefixes: &HashSet<Prefix>) {
        for &prefix in prefixes {
            self.allowed_ips.remove(prefix, id);
        }
        if let Some(slot) = &mut self.slots[id.0 as usize] {
            slot.prefixes.retain(|prefix| !prefixes.contains(prefix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, len: u8) -> Prefix {
        Prefix::new(text.parse().expect("an address"), len).expect("a length")
    }

    fn two_peers() -> (Routes, PeerId, PeerId) {
        let mut routes = Routes::new();
        let first = routes.add_peer(PublicKey([1; 32]), None).id;
        let second = routes.add_peer(PublicKey([2; 32]), None).id;
        (routes, first, second)
    }

    #[test]
    fn a_prefix_that_is_added_again_moves_to_the_end_and_is_listed_once() {
        let (mut routes, peer, _) = two_peers();
        let [a, b] = [prefix("10.0.0.0", 24), prefix("10.0.1.0", 24)];
        routes.insert(peer, &[a, b]);
        assert!(routes.insert(peer, &[a]).is_empty());
        assert_eq!(routes.prefixes(peer), [b, a]);
        routes.insert(peer, &[b, b]);
        assert_eq!(routes.prefixes(peer), [a, b]);
    }

    #[test]
    fn a_stolen_prefix_leaves_the_list_of_its_old_owner() {
        let (mut routes, first, second) = two_peers();
        let [a, b] = [prefix("10.0.0.0", 24), prefix("fd00::", 64)];
        routes.insert(first, &[a, b]);
        let stolen = routes.insert(second, &[b]);
        assert_eq!(stolen.len(), 1);
        assert_eq!((stolen[0].0, stolen[0].1.id), (b, first));
        assert_eq!((routes.prefixes(first), routes.prefixes(second)), ([a].as_slice(), [b].as_slice()));
        assert_eq!(routes.lookup("fd00::1".parse().expect("an address")), Some(second));
    }

    #[test]
    fn a_removed_peer_leaves_no_prefix_and_its_slot_is_used_again() {
        let (mut routes, first, second) = two_peers();
        routes.insert(first, &[prefix("0.0.0.0", 0)]);
        routes.insert(second, &[prefix("10.0.0.0", 8)]);
        routes.remove_peer(first);
        assert_eq!(routes.lookup("192.0.2.1".parse().expect("an address")), None);
        assert_eq!(routes.lookup("10.0.0.1".parse().expect("an address")), Some(second));
        assert_eq!(routes.add_peer(PublicKey([3; 32]), None).id, first);
        assert!(routes.prefixes(first).is_empty());
    }

    #[test]
    fn only_own_prefixes_are_removed() {
        let (mut routes, first, second) = two_peers();
        let [a, b] = [prefix("10.0.0.0", 24), prefix("10.0.1.0", 24)];
        routes.insert(first, &[a]);
        routes.insert(second, &[b]);
        routes.remove(second, &HashSet::from([a, b]));
        assert_eq!(routes.lookup("10.0.0.1".parse().expect("an address")), Some(first));
        assert_eq!(routes.lookup("10.0.1.1".parse().expect("an address")), None);
        assert!(routes.prefixes(second).is_empty());
    }
}
