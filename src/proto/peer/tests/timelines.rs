//! Two peers and what they send when: the worked timelines of the protocol's timers.

use super::*;

#[test]
fn a_single_datagram_is_answered_by_one_keepalive_10_s_later_and_then_silence() {
    let mut pair = Pair::with_session();
    pair.run_until(secs(1));
    pair.send(A);
    pair.run_until(secs(11) - MS);
    assert_eq!(pair.trace, [(secs(1), A, Data)]);
    pair.run_until(secs(100));
    assert_eq!(pair.trace, [(secs(1), A, Data), (secs(11), B, Keepalive)]);
}

#[test]
fn a_dead_peer_gets_an_initiation_15_s_after_unanswered_data_and_then_every_5_s() {
    let mut pair = Pair::with_session();
    pair.cut[B as usize] = true;
    pair.run_until(secs(1));
    pair.send(A);
    pair.run_until(secs(60));
    let initiations = pair.sent(A, Initiation);
    assert_jittered(initiations[0], secs(16));
    for (earlier, later) in initiations.iter().zip(&initiations[1..]) {
        assert_jittered(*later, *earlier + secs(5));
    }
    assert!(initiations.len() >= 8);
}

#[test]
fn data_after_the_first_does_not_postpone_the_initiation_to_a_dead_peer() {
    let mut pair = Pair::with_session();
    pair.cut[B as usize] = true;
    pair.run_until(secs(1));
    pair.send_every(A, secs(3), secs(17));
    assert_jittered(pair.sent(A, Initiation)[0], secs(16));
}

#[test]
fn an_initiator_that_sends_renews_the_key_right_after_the_first_packet_at_120_s() {
    let mut pair = Pair::with_session();
    pair.run_until(secs(120) - MS);
    pair.send(A);
    pair.run_until(secs(120) - MS);
    assert_eq!(pair.trace, [(secs(120) - MS, A, Data)]);
    pair.run_until(secs(120));
    pair.send(A);
    pair.run_until(secs(120));
    let expected =
        [Data, Initiation, Response, Keepalive].map(|kind| (secs(120), if kind == Response { B } else { A }, kind));
    assert_eq!(pair.trace[1..], expected);
}

#[test]
fn the_old_key_is_used_until_the_response_arrives() {
    let mut pair = Pair::with_session();
    pair.run_until(secs(120));
    let old = pair.a.peer.sessions.current.as_ref().unwrap().keypair.local;
    pair.delay = millis(100);
    pair.send(A);
    pair.run_until(secs(120) + millis(199));
    pair.send(A);
    assert_eq!(pair.a.peer.sessions.current.as_ref().unwrap().keypair.local, old);
    pair.run_until(secs(120) + millis(500));
    assert_ne!(pair.a.peer.sessions.current.as_ref().unwrap().keypair.local, old);
    assert_eq!(pair.b.delivered, 2);
}

#[test]
fn an_initiator_that_only_answers_with_passive_keepalives_renews_between_120_and_131_s() {
    let mut pair = Pair::with_session();
    pair.send_every(B, secs(1), secs(140));
    let keepalives = pair.sent(A, Keepalive);
    let initiations = pair.sent(A, Initiation);
    assert_eq!(initiations.len(), 1);
    assert!(initiations[0] >= secs(120) && initiations[0] <= secs(131), "{initiations:?}");
    assert!(keepalives.contains(&initiations[0]), "{keepalives:?}");
    assert!(pair.sent(B, Initiation).is_empty());
}

#[test]
fn an_initiator_that_only_receives_keepalives_renews_once_at_165_s() {
    let mut pair = Pair::with_session();
    pair.cut[A as usize] = true;
    pair.run_until(secs(165) - MS);
    pair.peer_asks_for_keepalive(B);
    pair.run_until(secs(165) - MS);
    assert!(pair.sent(A, Initiation).is_empty());
    pair.run_until(secs(165));
    pair.peer_asks_for_keepalive(B);
    pair.run_until(secs(165));
    assert_eq!(pair.sent(A, Initiation), [secs(165)]);
    pair.run_until(secs(170) - MS);
    pair.peer_asks_for_keepalive(B);
    pair.run_until(secs(170) - MS);
    assert_eq!(pair.sent(A, Initiation), [secs(165)]);
}

#[test]
fn initiations_that_cross_do_not_cross_again() {
    for (seed, delay) in (0..100).flat_map(|seed| [(seed, 0), (seed, 1), (seed, 50), (seed, 150)]) {
        let mut pair = Pair::seeded(seed);
        pair.delay = millis(delay);
        for tick in 0..350 {
            pair.run_until(millis(20 * tick));
            pair.send(A);
            pair.send(B);
        }
        assert_eq!([A, B].map(|side| pair.sent(side, Initiation)[0]), [Duration::ZERO; 2]);
        assert!(pair.a.delivered > 0 && pair.b.delivered > 0, "seed {seed}, {delay} ms");
        let initiations = pair.sent(A, Initiation).len() + pair.sent(B, Initiation).len();
        assert_eq!(initiations, 3, "seed {seed}, {delay} ms: one came first, and one was enough");
    }
}

#[test]
fn a_responder_that_sends_does_not_renew_before_180_s_and_then_stages() {
    let mut pair = Pair::with_session();
    pair.cut = [true; 2];
    // Not heard from, B asks for a handshake after 15 s: keep that apart by sending late.
    pair.run_until(secs(170));
    pair.send(B);
    pair.run_until(secs(180) - MS);
    pair.send(B);
    pair.run_until(secs(180));
    assert_eq!(pair.trace, [(secs(170), B, Data), (secs(180) - MS, B, Data)]);
    pair.cut = [false; 2];
    pair.send(B);
    pair.run_until(secs(180));
    let expected = [(secs(180), B, Initiation), (secs(180), A, Response), (secs(180), B, Data)];
    assert_eq!(pair.trace[2..], expected, "the packet waits for the handshake");
}

#[test]
fn idle_keys_are_unusable_at_180_s_and_erased_540_s_after_derivation() {
    let mut pair = Pair::with_session();
    pair.run_until(secs(540) - MS);
    assert_eq!((pair.a.indices.len(), pair.b.indices.len()), (1, 1));
    assert!(!pair.a.peer.sessions.can_send(pair.now));
    pair.run_until(secs(540));
    assert_eq!((pair.a.indices.len(), pair.b.indices.len()), (0, 0));
    assert!(pair.trace.is_empty());
}

/// B forgets its session; A sends a packet every second from `from` on. Returns how many were lost and when the next
/// arrived.
fn lost_after_restart(from: Duration) -> (usize, Duration) {
    let mut pair = Pair::with_session();
    pair.run_until(from);
    pair.b.peer.down();
    pair.drain(B);
    let now = pair.now;
    pair.b.peer.up(now);
    pair.drain(B);
    let mut sent = 0;
    while pair.b.delivered == 0 {
        pair.send(A);
        sent += 1;
        pair.run_until(from + secs(sent));
    }
    (sent as usize - pair.b.delivered, pair.sent(B, Response)[0] - from)
}

#[test]
fn after_the_peer_lost_its_state_a_young_session_recovers_in_15_s() {
    let (lost, recovered) = lost_after_restart(secs(50));
    assert_jittered(recovered, secs(15));
    assert_eq!(lost, 16);
}

#[test]
fn after_the_peer_lost_its_state_a_session_of_120_s_loses_one_packet() {
    let (lost, recovered) = lost_after_restart(secs(130));
    assert_eq!((lost, recovered), (1, Duration::ZERO));
}

#[test]
fn after_the_peer_lost_its_state_a_session_of_180_s_loses_nothing() {
    let (lost, recovered) = lost_after_restart(secs(180));
    assert_eq!((lost, recovered), (0, Duration::ZERO));
}

#[test]
fn crossing_initiations_are_both_answered_and_no_answer_is_accepted() {
    let mut pair = Pair::new();
    pair.delay = millis(50);
    pair.send(A);
    pair.send(B);
    pair.run_until(secs(5));
    let expected = [(Duration::ZERO, Initiation), (millis(50), Response)];
    for side in [A, B] {
        assert_eq!(expected.map(|(_, kind)| pair.sent(side, kind)), expected.map(|(when, _)| vec![when]));
        assert_eq!(pair.node(side).completed, 0);
    }
}

#[test]
fn crossing_initiations_are_resolved_by_jittered_retries() {
    let rounds = (0..50).map(|seed| {
        let mut pair = Pair::seeded(seed);
        pair.delay = millis(50);
        pair.send(A);
        pair.send(B);
        let mut round = 0;
        while (pair.a.delivered, pair.b.delivered) != (1, 1) {
            round += 1;
            assert!(round < 10, "seed {seed}: they keep crossing");
            pair.run_until(millis(5_700 * round));
        }
        let all = pair.trace.iter().filter(|(when, _, kind)| *kind == Initiation && *when > Duration::ZERO);
        assert!(all.map(|(when, ..)| *when).min() >= Some(secs(5) + millis(50)), "5 s after the response, not before");
        round
    });
    // Two jitters are within the 50 ms of the wire of each other in 28 % of the rounds.
    let at_once = rounds.filter(|round| *round == 1).count();
    assert!(at_once > 25, "{at_once} of 50");
}

#[test]
fn byte_counters_of_a_fresh_tunnel_with_ten_pings_are_the_kernels() {
    let mut pair = Pair::new();
    for _ in 0..10 {
        pair.send(A);
        pair.run_until(pair.elapsed());
        pair.send(B);
        pair.run_until(pair.elapsed());
    }
    let (a, b) = (pair.a.peer.status(), pair.b.peer.status());
    assert_eq!((a.tx_bytes, a.rx_bytes), (148 + 10 * 128, 92 + 10 * 128));
    assert_eq!((b.tx_bytes, b.rx_bytes), (a.rx_bytes, a.tx_bytes));
}

#[test]
fn two_idle_peers_stay_silent_until_their_keys_are_erased() {
    let mut pair = Pair::with_session();
    pair.run_until(secs(3600));
    assert!(pair.trace.is_empty(), "{:?}", pair.trace);
    assert!(pair.a.peer.poll_timeout().is_none() && pair.b.peer.poll_timeout().is_none());
}

#[test]
fn nothing_is_sent_more_often_than_once_per_5_s_when_the_peer_answers_nothing() {
    let mut pair = Pair::new();
    pair.cut = [true; 2];
    pair.send_every(A, millis(100), secs(30));
    let initiations = pair.sent(A, Initiation);
    assert_eq!(initiations.len(), 7);
    assert!(initiations.windows(2).all(|two| two[1] - two[0] >= secs(5)), "{initiations:?}");
}
