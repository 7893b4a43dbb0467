//! What goes wrong leaves a fact with an address behind, at the end that can see it.

use std::time::Duration;

use rvpn::dataplane::evidence::{EvidenceSnapshot, PeerEvidence, Troubles};

use crate::config::{self, Keys};
use crate::world::World;

impl World {
    /// Waits until node `n` has seen what `wanted` looks for.
    fn sees<T>(&self, n: usize, what: &str, wanted: impl Fn(&EvidenceSnapshot) -> Option<T>) -> T {
        for _ in 0..PATIENCE {
            if let Some(found) = wanted(&self.nodes[n].device.evidence()) {
                return found;
            }
            // Nothing is written; the wait is what is wanted.
            self.nodes[n].tun().wait_for(Duration::from_millis(2), |_| false);
        }
        panic!("waited in vain for {what}: {:?}", self.nodes[n].device.evidence());
    }

    fn try_ping(&self) {
        self.nodes[0].tun().inject(&self.flow4(0).echo(false, 1));
    }
}

fn peer(evidence: &EvidenceSnapshot) -> &PeerEvidence {
    &evidence.peers[0].1
}

#[test]
fn a_tunnel_that_works_leaves_no_evidence() {
    let world = World::new(1);
    world.shake();
    for node in &world.nodes {
        let evidence = node.device.evidence();
        assert_eq!(evidence.device, rvpn::dataplane::evidence::DeviceEvidence::default());
        let peer = peer(&evidence);
        assert_eq!(peer.troubles(), Troubles::default());
        assert_eq!((peer.unanswered, peer.unconfirmed), (0, 0));
        assert!(evidence.is_up && peer.completed_at.is_some());
    }
    let [initiator, responder] = [0, 1].map(|n| peer(&world.nodes[n].device.evidence()).clone());
    assert_eq!((initiator.initiations_sent, initiator.responses_received), (1, 1));
    assert_eq!(responder.initiations_received, 1);
}

#[test]
fn a_wrong_public_key_of_ours_is_seen_by_us_as_a_bad_mac1() {
    let world = World::new(1);
    let [left, right] = &world.nodes;
    config::remove_peers(&left.device);
    config::add_peer(&left.device, Keys::of_node(9).public, Some(right.outer), &right.inner);
    world.try_ping();
    let seen = world.sees(1, "a bad mac1", |evidence| evidence.device.bad_mac1);
    assert_eq!((seen.count, seen.last), (1, left.outer));
    let tried = world.sees(0, "an initiation", |evidence| Some(peer(evidence).unanswered).filter(|&sent| sent > 0));
    assert_eq!(tried, 1);
}

#[test]
fn an_unknown_initiator_is_seen_with_the_key_it_claims() {
    let world = World::new(1);
    config::remove_peers(&world.nodes[1].device);
    world.try_ping();
    let seen = world.sees(1, "an unknown initiator", |evidence| evidence.device.unknown_initiator);
    assert_eq!(seen.last, (world.nodes[0].keys.public, world.nodes[0].outer));
}

#[test]
fn another_preshared_key_is_seen_by_the_initiator_and_guessed_by_the_responder() {
    let world = World::new(1);
    config::set_preshared_key(&world.nodes[1].device, world.nodes[0].keys.public, [7; 32]);
    world.try_ping();
    let seen = world.sees(0, "a bad response", |evidence| peer(evidence).troubles().bad_response);
    assert_eq!(seen.last, world.nodes[1].outer);
    assert_eq!(peer(&world.nodes[1].device.evidence()).unconfirmed, 1);
}

#[test]
fn a_clock_in_the_past_is_seen_with_how_far() {
    let world = World::new(1);
    let [left, right] = &world.nodes;
    world.shake();
    world.clock.step_wall(-86_400);
    // The peer anew, as after a restart: else its timestamps go on from the last one.
    config::remove_peers(&left.device);
    config::add_peer(&left.device, right.keys.public, Some(right.outer), &right.inner);
    world.try_ping();
    let seen = world.sees(1, "a timestamp in the past", |evidence| peer(evidence).troubles().stale_timestamp);
    assert_eq!(seen.last.from, left.outer);
    let behind = seen.last.behind.as_secs();
    assert!((86_399..=86_401).contains(&behind), "{behind}");
}

#[test]
fn addresses_that_are_not_allowed_are_seen_at_either_side() {
    let world = World::new(1);
    config::remove_allowed_ips(&world.nodes[1].device, world.nodes[0].keys.public);
    world.try_ping();
    let seen = world.sees(1, "a foreign source", |evidence| peer(evidence).troubles().foreign_source);
    assert_eq!(seen.last, world.nodes[0].inner[0]);

    world.nodes[1].tun().inject(&world.flow4(1).echo(false, 2));
    let seen = world.sees(1, "a packet for nobody", |evidence| evidence.device.no_peer);
    assert_eq!(seen.last, world.nodes[0].inner[0]);
}

#[test]
fn a_packet_for_a_peer_without_endpoint_is_seen() {
    let world = World::new(1);
    config::remove_peers(&world.nodes[0].device);
    config::add_peer(&world.nodes[0].device, world.nodes[1].keys.public, None, &world.nodes[1].inner);
    world.try_ping();
    assert_eq!(world.sees(0, "no endpoint", |evidence| peer(evidence).troubles().no_endpoint).count, 1);
}

/// Looks of 2 ms: 20 s.
const PATIENCE: usize = 10_000;
