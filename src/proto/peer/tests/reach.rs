//! Candidates, other ways, silence: who is asked when, to the millisecond.

use super::*;
use crate::proto::candidates::{MAX_CANDIDATES, Order};
use crate::proto::messages::INITIATION_LEN;

/// A peer that is up with candidates of these hosts, nothing sent.
fn with_candidates(hosts: &[u8]) -> Solo {
    let mut solo = Solo::new();
    solo.peer.endpoint = None;
    solo.peer.set_candidates(start(), hosts.iter().map(|&host| address(host)).collect());
    solo.drain();
    solo
}

/// Makes an initiation; returns the host it goes to, and its bytes.
fn initiate(solo: &mut Solo, now: Instant) -> (SocketAddr, [u8; INITIATION_LEN]) {
    let plan = solo.peer.begin_initiation(now, wall_at(now)).expect("one may be sent");
    let (pending, mut message) = solo.compute(&plan);
    let to = solo.peer.commit_initiation(now, &mut solo.rng, plan.epoch, pending, &mut message).unwrap();
    (to.remote, message)
}

/// Lets time pass up to `end` from `now`, and returns when which host got a copy.
fn copies(solo: &mut Solo, end: Instant, message: &[u8; INITIATION_LEN]) -> Vec<(Duration, SocketAddr)> {
    let mut copies = Vec::new();
    while let Some(due) = solo.peer.poll_timeout().filter(|due| *due <= end) {
        solo.peer.handle_timeout(due, &mut solo.rng);
        while let Some(output) = solo.peer.poll_output() {
            if let Output::SendInitiation(to, copy) = output {
                assert_eq!(*copy, *message, "it is the same datagram");
                copies.push((due.since(start()), to.remote));
            }
        }
    }
    copies
}

/// A response to the pending initiation comes from `host`.
fn respond(solo: &mut Solo, now: Instant, host: u8) {
    let keys = solo.keys(Role::Initiator);
    solo.peer.handshake = Handshake::Lent(keys.local);
    let epoch = solo.peer.epoch;
    solo.peer.commit_session(now, wall_at(now), &mut solo.rng, epoch, keys, learned(host)).unwrap();
    solo.drain();
}

/// A packet came and another one went, so that the peer is in a conversation.
fn converse(solo: &mut Solo, now: Instant) {
    let index = solo.current();
    solo.peer.on_received(now, wall_at(now), &mut solo.rng, Received { index, from: learned(9), data: true });
    solo.send(now, true);
    solo.drain();
}

#[test]
fn without_candidates_an_initiation_goes_to_the_endpoint_alone() {
    let mut solo = Solo::new();
    let (to, message) = initiate(&mut solo, start());
    assert_eq!(to, address(9));
    assert_eq!(copies(&mut solo, at(millis(4_999)), &message), []);
}

#[test]
fn the_same_initiation_goes_to_all_candidates_250_ms_apart() {
    let mut solo = with_candidates(&[1, 2, 3]);
    let (to, message) = initiate(&mut solo, start());
    assert_eq!(to, address(1));
    let expected = [(millis(250), address(2)), (millis(500), address(3))];
    assert_eq!(copies(&mut solo, at(millis(4_999)), &message), expected);
}

#[test]
fn the_first_that_answers_is_kept() {
    let mut solo = with_candidates(&[1, 2, 3]);
    let (_, message) = initiate(&mut solo, start());
    assert_eq!(copies(&mut solo, at(millis(300)), &message), [(millis(250), address(2))]);
    respond(&mut solo, at(millis(320)), 2);
    assert_eq!(solo.peer.endpoint().map(|endpoint| endpoint.remote), Some(address(2)));
    assert_eq!(copies(&mut solo, at(secs(4)), &message), [], "the race is over");
    let (to, message) = initiate(&mut solo, at(secs(120)));
    assert_eq!(to, address(2));
    assert_eq!(copies(&mut solo, at(secs(124)), &message), [], "the next handshake asks nobody else");
}

#[test]
fn after_three_lost_handshakes_the_others_are_asked_too() {
    let mut solo = with_candidates(&[1, 2]);
    initiate(&mut solo, start());
    respond(&mut solo, at(millis(20)), 1);
    for lost in [10, 20, 30] {
        let (to, message) = initiate(&mut solo, at(secs(lost)));
        assert_eq!((to, copies(&mut solo, at(secs(lost + 4)), &message)), (address(1), vec![]), "{lost}");
    }
    let (to, message) = initiate(&mut solo, at(secs(40)));
    assert_eq!(to, address(1));
    assert_eq!(copies(&mut solo, at(secs(44)), &message), [(millis(40_250), address(2))]);
    respond(&mut solo, at(secs(44)), 2);
    assert_eq!(initiate(&mut solo, at(secs(50))).0, address(2));
}

#[test]
fn in_strict_order_each_handshake_begins_at_the_first() {
    let mut solo = with_candidates(&[1, 2]);
    solo.peer.set_order(Order::Strict);
    let (to, message) = initiate(&mut solo, start());
    assert_eq!(to, address(1));
    assert_eq!(copies(&mut solo, at(secs(4)), &message), [(secs(1), address(2))]);
    respond(&mut solo, at(secs(4)), 2);
    // The first is back.
    let (to, message) = initiate(&mut solo, at(secs(120)));
    assert_eq!(to, address(1));
    respond(&mut solo, at(millis(120_900)), 1);
    assert_eq!(copies(&mut solo, at(secs(124)), &message), [], "who answers within a second is not passed over");
    assert_eq!(solo.peer.endpoint().map(|endpoint| endpoint.remote), Some(address(1)));
}

#[test]
fn all_candidates_are_asked_before_the_next_initiation_is_due() {
    for order in [Order::Fastest, Order::Strict] {
        let hosts: Vec<u8> = (1..=40).collect();
        let mut solo = with_candidates(&hosts);
        solo.peer.set_order(order);
        let (_, message) = initiate(&mut solo, start());
        assert_eq!(copies(&mut solo, at(millis(4_999)), &message).len(), MAX_CANDIDATES - 1, "{order:?}");
    }
}

#[test]
fn after_a_jump_of_the_clock_nobody_is_asked_by_an_initiation_that_is_over() {
    let mut solo = with_candidates(&[1, 2, 3]);
    initiate(&mut solo, start());
    solo.peer.handle_timeout(at(secs(60)), &mut solo.rng);
    assert_eq!(solo.drain(), ["LookUp", "Initiate"], "no copy of the first");
}

#[test]
fn where_no_datagram_can_leave_the_next_is_asked_at_once() {
    let mut solo = with_candidates(&[1, 2, 3]);
    let (_, message) = initiate(&mut solo, start());
    solo.peer.candidate_is_unreachable(at(MS));
    assert_eq!(copies(&mut solo, at(secs(1)), &message), [(MS, address(2)), (millis(251), address(3))]);
}

#[test]
fn the_first_candidate_lets_what_waits_go() {
    let mut solo = Solo::new();
    solo.peer.endpoint = None;
    assert_eq!(solo.peer.set_candidates(start(), vec![address(1), address(2)]), Some(address(1)));
    assert_eq!(solo.drain(), ["Flush"]);
}

#[test]
fn an_initiation_that_waits_for_an_answer_goes_to_new_candidates_at_once() {
    let mut solo = with_candidates(&[1]);
    let (_, message) = initiate(&mut solo, start());
    assert_eq!(solo.peer.set_candidates(at(secs(2)), vec![address(2), address(3)]), Some(address(2)));
    let expected = [(secs(2), address(2)), (millis(2_250), address(3))];
    assert_eq!(copies(&mut solo, at(secs(4)), &message), expected);
}

#[test]
fn an_endpoint_that_its_name_has_left_is_asked_last_and_at_once_if_it_is_in_use() {
    let mut solo = with_candidates(&[9]);
    initiate(&mut solo, start());
    respond(&mut solo, start(), 9);
    assert_eq!(solo.peer.set_candidates(at(secs(60)), vec![address(9), address(2)]), None);
    assert_eq!(solo.drain(), [""; 0], "it is still among them");

    assert_eq!(solo.peer.set_candidates(at(secs(60)), vec![address(2)]), Some(address(2)));
    assert_eq!(solo.drain(), [""; 0], "nobody waits for anything");
    converse(&mut solo, at(secs(61)));
    solo.peer.set_candidates(at(secs(61)), vec![address(3)]);
    assert_eq!(solo.drain(), ["Initiate"]);
    let (to, message) = initiate(&mut solo, at(secs(61)));
    assert_eq!(to, address(3));
    assert_eq!(copies(&mut solo, at(millis(61_400)), &message), [(millis(61_250), address(9))]);
}

#[test]
fn a_peer_that_roamed_is_not_left_for_a_list() {
    let mut solo = with_candidates(&[1]);
    initiate(&mut solo, start());
    respond(&mut solo, start(), 9);
    converse(&mut solo, at(secs(60)));
    assert_eq!(solo.peer.set_candidates(at(secs(60)), vec![address(2)]), None);
    assert_eq!(solo.drain(), [""; 0]);
    assert_eq!(initiate(&mut solo, at(secs(61))).0, address(9));
}

#[test]
fn names_are_looked_up_when_a_handshake_is_lost() {
    let mut solo = with_candidates(&[1]);
    let (_, message) = initiate(&mut solo, start());
    assert_eq!(copies(&mut solo, at(secs(4)), &message), []);
    let due = solo.peer.poll_timeout().unwrap();
    assert_eq!(solo.timeout(due), ["LookUp", "Initiate"]);
}

#[test]
fn another_way_is_told_to_a_peer_that_is_in_use_and_to_no_other() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.way_changed(at(secs(60)));
    assert_eq!(
        (solo.drain(), solo.peer.endpoint().unwrap().source),
        (vec![], None),
        "idle: only the source is forgotten"
    );
    converse(&mut solo, at(secs(61)));
    solo.peer.way_changed(at(secs(61)));
    assert_eq!(solo.drain(), ["Initiate"]);
    initiate(&mut solo, at(secs(61)));
    respond(&mut solo, at(secs(61)), 9);
    converse(&mut solo, at(secs(62)));
    solo.peer.way_changed(at(secs(62)));
    assert_eq!(solo.drain(), ["Keepalive"], "five seconds between initiations");
}

#[test]
fn by_another_way_an_unanswered_initiation_is_sent_again() {
    let mut solo = with_candidates(&[1, 2]);
    let (_, message) = initiate(&mut solo, start());
    copies(&mut solo, at(secs(1)), &message);
    type Act = fn(&mut Peer, Instant);
    for (second, act) in [(2, Peer::way_changed as Act), (3, Peer::way_is_back)] {
        act(&mut solo.peer, at(secs(second)));
        let expected = [(secs(second), address(1)), (secs(second) + millis(250), address(2))];
        assert_eq!(copies(&mut solo, at(secs(second) + millis(900)), &message), expected);
    }
}

#[test]
fn a_way_that_is_back_is_no_reason_for_a_handshake() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    converse(&mut solo, at(secs(60)));
    solo.peer.way_is_back(at(secs(60)));
    assert_eq!(solo.drain(), [""; 0]);
}

#[test]
fn a_peer_that_falls_silent_in_a_conversation_is_asked_after_a_second() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    converse(&mut solo, at(secs(60)));
    for sent in [100, 400, 700, 900] {
        solo.send(at(secs(60) + millis(sent)), true);
    }
    assert_eq!(solo.timeout(at(millis(60_500))), [""; 0]);
    solo.send(at(millis(60_600)), true);
    assert_eq!(solo.timeout(at(millis(60_999))), [""; 0]);
    assert_eq!(solo.timeout(at(secs(61))), ["Initiate"]);
    let (_, message) = initiate(&mut solo, at(secs(61)));
    let expected = [62, 63, 64, 65].map(|second| (secs(second), address(9)));
    assert_eq!(copies(&mut solo, at(millis(65_999)), &message), expected, "it may be starting anew");
    let (_, message) = initiate(&mut solo, at(secs(67)));
    assert_eq!(copies(&mut solo, at(millis(71_999)), &message), [], "and may be dead");
}

#[test]
fn who_is_silent_in_a_conversation_is_looked_for_elsewhere_after_three_unanswered_messages() {
    let mut solo = with_candidates(&[9, 2]);
    initiate(&mut solo, start());
    respond(&mut solo, start(), 9);
    converse(&mut solo, at(secs(60)));
    solo.timeout(at(millis(60_500)));
    solo.send(at(millis(60_600)), true);
    assert_eq!(solo.timeout(at(secs(61))), ["LookUp", "Initiate"]);
    let (to, message) = initiate(&mut solo, at(secs(61)));
    assert_eq!(to, address(9));
    let expected =
        [(secs(62), address(9)), (secs(63), address(9)), (secs(64), address(9)), (millis(64_250), address(2))];
    assert_eq!(copies(&mut solo, at(millis(64_900)), &message), expected);
}

#[test]
fn a_peer_that_falls_silent_after_a_handshake_is_asked_when_that_is_allowed() {
    let mut solo = Solo::new();
    initiate(&mut solo, start());
    respond(&mut solo, start(), 9);
    converse(&mut solo, at(secs(1)));
    solo.timeout(at(millis(1_500)));
    solo.send(at(millis(1_600)), true);
    assert_eq!(solo.timeout(at(secs(2))), [""; 0]);
    assert_eq!(solo.only_at(at(secs(5))), ["Initiate"]);
}

#[test]
fn the_end_of_a_conversation_is_no_silence() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    converse(&mut solo, at(secs(60)));
    for sent in [1, 2, 3, 400] {
        solo.send(at(secs(60) + millis(sent)), true);
    }
    assert_eq!(solo.timeout(at(millis(60_500))), [""; 0]);
    assert_eq!(solo.timeout(at(secs(61))), [""; 0]);
    assert_jittered(solo.peer.poll_timeout().unwrap().since(start()), secs(75));
}

#[test]
fn a_peer_that_need_not_answer_is_not_asked_before_15_s() {
    let one_way = |role: Role| {
        let mut solo = Solo::with_session(role, start());
        if role == Role::Responder {
            converse(&mut solo, at(secs(60)));
        }
        for sent in 0..30 {
            solo.send(at(secs(60) + millis(100 * sent)), true);
            assert_eq!(solo.timeout(at(secs(60) + millis(100 * sent))), [""; 0]);
        }
    };
    one_way(Role::Initiator);
    // Of two that ask each other at once, both ask in vain.
    one_way(Role::Responder);
}

#[test]
fn an_answer_ends_the_silence() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    converse(&mut solo, at(secs(60)));
    solo.timeout(at(millis(60_500)));
    solo.send(at(millis(60_600)), true);
    solo.receive_data(at(millis(60_900)));
    solo.drain();
    assert_eq!(solo.timeout(at(secs(61))), [""; 0]);
}
