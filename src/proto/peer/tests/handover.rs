//! A peer that goes on in another process: nothing is repeated, nothing is forgotten, nobody notices.

use std::collections::HashSet;

use super::*;
use crate::proto::carried::{Malformed, Reader, Writer};
use crate::proto::constants::REJECT_AFTER_MESSAGES;

/// What `peer` writes.
fn written(peer: &Peer) -> Vec<u8> {
    let mut out = Writer::new(Peer::MAX_CARRIED_LEN);
    peer.write(false, &mut out);
    out.written().unwrap().to_vec()
}

#[test]
fn the_other_end_notices_nothing() {
    let mut pair = Pair::with_session();
    for step in 0..30 {
        pair.hand_over(if step % 2 == 0 { A } else { B });
        pair.send(A);
        pair.send(B);
        pair.run_until(pair.elapsed() + secs(1));
    }
    assert_eq!((pair.a.delivered, pair.b.delivered), (30, 30));
    assert_eq!(pair.sent(A, Initiation).len() + pair.sent(B, Initiation).len(), 0);
    for packets in [&pair.sealed, &pair.opened] {
        let mut seen = HashSet::new();
        assert!(packets.iter().all(|packet| seen.insert(packet)), "a counter was used twice");
    }
}

#[test]
fn what_was_received_before_is_a_replay_after() {
    let mut pair = Pair::with_session();
    pair.send(A);
    pair.run_until(millis(1));
    let (_, index, counter) = *pair.opened.last().unwrap();
    pair.hand_over(B);
    let now = pair.now;
    assert_eq!(pair.b.peer.accept(now, index, counter), Err(DropReason::Replayed));
    assert_eq!(pair.b.peer.accept(now, index, counter + 1), Ok(()));
}

#[test]
fn a_recorded_initiation_stays_worthless_and_our_next_one_is_newer() {
    let mut pair = Pair::with_session();
    let accepted = pair.b.peer.accepted_timestamp;
    pair.hand_over(B);
    pair.hand_over(A);
    let now = pair.now.plus(secs(100));
    let refused = pair.b.peer.accept_initiation(now, &mut StdRng::seed_from_u64(0), accepted, learned(1));
    assert_eq!(refused.err(), Some(Refusal::ReplayedTimestamp));
    // Also on a clock that went back.
    let plan = pair.a.peer.begin_initiation(now, WallTime::default()).unwrap();
    assert!(plan.timestamp > accepted);
}

#[test]
fn keys_age_on_and_are_renewed_when_they_would_have_been() {
    let [mut alone, mut handed] = [Pair::with_session(), Pair::with_session()];
    alone.send_every(A, secs(1), secs(250));
    while handed.elapsed() < secs(250) {
        handed.hand_over(A);
        handed.hand_over(B);
        handed.send_every(A, secs(1), handed.elapsed() + secs(9));
    }
    assert_eq!(handed.sent(A, Initiation), alone.sent(A, Initiation));
    assert_eq!(handed.sent(A, Initiation).len(), 2);
    assert!(handed.node(A).peer.poll_timeout().is_some());
    assert_eq!((handed.a.connected, handed.b.connected), (1, 1), "a handover is no connection");
}

#[test]
fn counters_endpoint_and_last_handshake_go_on() {
    let mut pair = Pair::with_session();
    pair.send(A);
    pair.run_until(secs(1));
    let before = pair.b.peer.status();
    pair.hand_over(B);
    let after = pair.b.peer.status();
    assert_eq!((after.rx_bytes, after.tx_bytes), (before.rx_bytes, before.tx_bytes));
    assert_eq!((after.endpoint, after.last_handshake), (before.endpoint, before.last_handshake));
    assert!(after.endpoint.is_some_and(|endpoint| endpoint.source.is_some()) && after.last_handshake.is_some());
}

#[test]
fn an_initiation_that_waits_for_its_response_is_begun_again_at_once() {
    let mut pair = Pair::new();
    pair.delay = secs(1);
    pair.send(A);
    pair.run_until(millis(500));
    assert_eq!(pair.sent(A, Initiation), [Duration::ZERO]);
    pair.hand_over(A);
    pair.run_until(secs(4));
    assert_eq!(pair.sent(A, Initiation), [Duration::ZERO, millis(500)]);
    assert_eq!(pair.b.delivered, 1, "what waited for a key is not forgotten");
}

#[test]
fn the_interval_of_keepalives_is_that_of_the_configuration() {
    let mut pair = Pair::with_session();
    let now = pair.now;
    pair.a.peer.set_persistent_keepalive(now, 25);
    pair.drain(A);
    pair.run_until(secs(1));
    pair.trace.clear();
    pair.hand_over(A);
    pair.run_until(secs(40));
    assert_eq!(pair.sent(A, Keepalive).len(), 1, "the deadline is where it was");
    assert!(pair.sent(A, Keepalive)[0] <= secs(26));
}

#[test]
fn two_processes_have_no_counter_in_common() {
    let mut solo = Pair::with_session();
    let next = |peer: &mut Peer, now| peer.reserve(now, 100).map(|grant| grant.first_counter);
    let now = solo.now;
    let before = next(&mut solo.a.peer, now).unwrap() + 100;
    let bytes = written(&solo.a.peer);
    let carried = CarriedPeer::read(now, &mut Reader::new(&bytes)).unwrap();
    let mut other = Peer::new(*solo.a.peer.public_key(), solo.a.peer.static_static().cloned());
    other.resume(carried, true);
    assert_eq!(next(&mut other, now), Some(before + SKIPPED_COUNTERS));
    solo.a.peer.skip_counters(1 << 40);
    assert_eq!(next(&mut solo.a.peer, now), Some(before + (1 << 40)));
    solo.a.peer.skip_counters(u64::MAX);
    assert_eq!(next(&mut solo.a.peer, now), None, "the session ends at the limit");
}

#[test]
fn a_peer_of_an_interface_that_is_down_stays_so() {
    let mut pair = Pair::with_session();
    pair.b.peer.down();
    pair.drain(B);
    pair.hand_over(B);
    assert!(!pair.b.peer.is_up && pair.b.peer.poll_timeout().is_none());
    assert!(pair.b.peer.status().last_handshake.is_some());
}

#[test]
fn broken_state_is_refused_or_harmless_and_never_a_panic() {
    let mut pair = Pair::with_session();
    pair.send(A);
    pair.run_until(secs(1));
    let (now, bytes) = (pair.now, written(&pair.a.peer));
    assert!(bytes.len() < Peer::MAX_CARRIED_LEN);
    for len in 0..bytes.len() {
        assert_eq!(CarriedPeer::read(now, &mut Reader::new(&bytes[..len])).err(), Some(Malformed), "{len}");
    }
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[place] ^= 1 << bit;
            let Ok(carried) = CarriedPeer::read(now, &mut Reader::new(&broken)) else { continue };
            let mut peer = Peer::new(*pair.a.peer.public_key(), pair.a.peer.static_static().cloned());
            peer.resume(carried, true);
            while peer.poll_output().is_some() {}
            let mut rng = StdRng::seed_from_u64(1);
            peer.handle_timeout(now.plus(secs(1_000)), &mut rng);
            assert!(peer.reserve(now, 1).is_none_or(|grant| grant.first_counter < REJECT_AFTER_MESSAGES));
        }
    }
}

#[test]
fn what_happened_in_the_future_is_refused() {
    let mut responded = Pair::new();
    responded.cut[B as usize] = true;
    responded.send(A);
    responded.run_until(Duration::ZERO);
    responded.b.peer.sessions = Sessions::default();
    responded.b.peer.timers.forget_last_sent_handshake();
    let mut stamped = Pair::new();
    stamped.a.peer.timers.handshake_stamped(stamped.now);
    for (what, now, peer) in [
        ("a session", Pair::with_session().now, &Pair::with_session().a.peer),
        ("an accepted initiation", responded.now, &responded.b.peer),
        ("a sent initiation", stamped.now, &stamped.a.peer),
    ] {
        let bytes = written(peer);
        assert!(CarriedPeer::read(now, &mut Reader::new(&bytes)).is_ok(), "{what}");
        let before = now.minus(Duration::from_nanos(1));
        assert_eq!(CarriedPeer::read(before, &mut Reader::new(&bytes)).err(), Some(Malformed), "{what}");
    }
}
