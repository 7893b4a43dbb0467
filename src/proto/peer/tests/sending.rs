//! Counters, their limits, and what is done when there is no key to send with.

use super::*;
use crate::proto::constants::REJECT_AFTER_MESSAGES;

fn set_next_counter(solo: &mut Solo, counter: u64) {
    solo.peer.sessions.current.as_mut().unwrap().next_counter = counter;
}

#[test]
fn counters_are_consecutive_and_never_handed_out_twice() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let first: Vec<_> = [1, 5, 0, 64, 1].map(|count| solo.peer.reserve(start(), count).unwrap().first_counter).into();
    assert_eq!(first, [0, 1, 6, 6, 70]);
}

#[test]
fn a_failed_send_does_not_give_its_counters_back() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.reserve(start(), 3).unwrap();
    solo.peer.on_sent(start(), &mut solo.rng, Sent::default());
    assert_eq!(solo.peer.reserve(start(), 1).unwrap().first_counter, 3);
}

#[test]
fn the_last_counter_is_one_below_the_limit() {
    let mut solo = Solo::with_session(Role::Responder, start());
    set_next_counter(&mut solo, REJECT_AFTER_MESSAGES - 2);
    assert_eq!(solo.peer.reserve(at(secs(6)), 2).unwrap().first_counter, REJECT_AFTER_MESSAGES - 2);
    assert!(!solo.peer.sessions.can_send(at(secs(6))));
    assert!(solo.peer.reserve(at(secs(6)), 1).is_none());
    assert_eq!(solo.drain(), ["Initiate"]);
}

#[test]
fn a_reservation_across_the_limit_ends_the_session_for_sending() {
    for count in [3, u64::MAX] {
        let mut solo = Solo::with_session(Role::Responder, start());
        set_next_counter(&mut solo, REJECT_AFTER_MESSAGES - 2);
        assert!(solo.peer.reserve(at(secs(6)), count).is_none());
        assert_eq!(solo.drain(), ["Initiate"]);
        assert!(solo.peer.reserve(at(secs(6)), 1).is_none(), "for good");
        let index = solo.current();
        assert_eq!(solo.peer.accept(at(secs(6)), index, 0), Ok(()), "receiving goes on");
    }
}

#[test]
fn received_counters_from_the_limit_on_are_refused_without_moving_the_window() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let index = solo.current();
    let mut accept = |counter| solo.peer.accept(start(), index, counter);
    for counter in [REJECT_AFTER_MESSAGES, REJECT_AFTER_MESSAGES + 1, u64::MAX] {
        assert_eq!(accept(counter), Err(DropReason::Replayed));
    }
    assert_eq!(accept(0), Ok(()));
    assert_eq!(accept(REJECT_AFTER_MESSAGES - 1), Ok(()));
    assert_eq!(accept(1), Err(DropReason::Replayed));
}

#[test]
fn both_roles_renew_after_more_than_2_to_the_60_messages() {
    for role in [Role::Initiator, Role::Responder] {
        let mut solo = Solo::with_session(role, start());
        set_next_counter(&mut solo, (1 << 60) - 1);
        solo.send(at(secs(6)), false);
        assert_eq!(solo.drain(), [""; 0]);
        solo.send(at(secs(6)), false);
        assert_eq!(solo.drain(), ["Initiate"]);
    }
}

#[test]
fn without_a_key_a_handshake_is_asked_for() {
    let mut solo = Solo::new();
    assert!(solo.peer.reserve(start(), 1).is_none());
    assert!(solo.peer.reserve(start(), 1).is_none());
    assert_eq!(solo.drain(), ["Initiate"], "two requests are one");
}

#[test]
fn at_most_one_initiation_is_sent_in_5_s() {
    let mut solo = Solo::new();
    assert!(solo.initiate(start()));
    assert!(solo.peer.reserve(at(secs(5) - MS), 1).is_none());
    assert_eq!(solo.drain(), [""; 0]);
    assert!(!solo.initiate(at(secs(5) - MS)));
    assert!(solo.peer.reserve(at(secs(5)), 1).is_none());
    assert_eq!(solo.drain(), ["Initiate"]);
    assert!(solo.initiate(at(secs(5))));
}

#[test]
fn a_response_keeps_an_initiation_back_for_5_s() {
    let mut solo = Solo::new();
    solo.install_as_responder(start());
    solo.drain();
    assert!(!solo.initiate(at(secs(5) - MS)));
    assert!(solo.initiate(at(secs(5))));
}

#[test]
fn a_suppressed_retry_is_made_when_it_is_allowed() {
    let mut solo = Solo::new();
    solo.initiate(start());
    solo.install_as_responder(at(secs(2)));
    solo.drain();
    let retry = solo.peer.poll_timeout().unwrap();
    assert_jittered(retry.since(start()), secs(5));
    assert_eq!(solo.timeout(retry), [""; 0], "a response was sent 3 s ago");
    let retry = solo.peer.poll_timeout().unwrap();
    assert_jittered(retry.since(start()), secs(7));
    assert_eq!(solo.only_at(retry), ["Initiate"]);
}

#[test]
fn packets_behind_an_unconfirmed_response_do_not_wait_for_ever() {
    let mut solo = Solo::new();
    solo.install_as_responder(start());
    solo.drain();
    assert!(solo.peer.reserve(at(secs(1)), 1).is_none());
    assert_eq!(solo.drain(), [""; 0]);
    assert_eq!(solo.only_at(at(secs(5))), ["Initiate"]);
}

#[test]
fn an_initiation_overtaken_by_a_response_of_ours_is_made_when_it_is_allowed() {
    let mut solo = Solo::new();
    assert!(solo.peer.reserve(start(), 1).is_none());
    assert_eq!(solo.drain(), ["Initiate"]);
    solo.install_as_responder(at(secs(1)));
    solo.drain();
    assert!(!solo.initiate(at(secs(2))));
    assert_eq!(solo.only_at(at(secs(6))), ["Initiate"]);
}

#[test]
fn an_initiation_refused_while_there_is_a_key_is_not_made_later() {
    let mut solo = Solo::with_session(Role::Responder, start());
    assert!(!solo.initiate(at(secs(2))));
    assert_eq!(solo.peer.timers.next_deadline(), Some(at(secs(540))));
}

#[test]
fn without_endpoint_nothing_is_sent_and_nothing_is_armed() {
    let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
    peer.set_persistent_keepalive(start(), 25);
    peer.up(start());
    while let Some(output) = peer.poll_output() {
        assert!(matches!(output, Output::Flush), "{output:?}");
    }
    assert!(peer.reserve(start(), 1).is_none());
    assert!(peer.begin_initiation(start(), wall_at(start())).is_none());
    assert!(peer.poll_output().is_none());
    assert_eq!(peer.poll_timeout(), None);
}

#[test]
fn without_identity_nothing_is_sent_and_nothing_is_armed() {
    let mut peer = Peer::new(PublicKey([9; 32]), None);
    peer.set_endpoint(address(9));
    peer.set_persistent_keepalive(start(), 25);
    peer.up(start());
    while let Some(output) = peer.poll_output() {
        assert!(matches!(output, Output::Flush), "{output:?}");
    }
    assert!(peer.reserve(start(), 1).is_none());
    assert!(peer.begin_initiation(start(), wall_at(start())).is_none());
    assert!(peer.poll_output().is_none());
    assert_eq!(peer.poll_timeout(), None);
}

#[test]
fn retries_end_when_the_identity_is_taken_away() {
    let mut solo = Solo::new();
    solo.initiate(start());
    solo.peer.identity_changed(None);
    solo.drain();
    let retry = solo.peer.poll_timeout().unwrap();
    assert_eq!(solo.timeout(retry), [""; 0]);
    assert_eq!(solo.peer.poll_timeout(), None);
}

#[test]
fn the_first_endpoint_or_identity_asks_for_what_waited() {
    let mut peer = Peer::new(PublicKey([9; 32]), None);
    peer.set_persistent_keepalive(start(), 25);
    peer.up(start());
    peer.set_endpoint(address(9));
    while peer.poll_output().is_some() {}
    peer.identity_changed(SharedSecret::new([7; 32]));
    assert!(matches!(peer.poll_output(), Some(Output::Keepalive)));
    assert!(peer.poll_output().is_none(), "the keepalive flushes");

    let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
    peer.up(start());
    while peer.poll_output().is_some() {}
    peer.set_endpoint(address(9));
    assert!(matches!(peer.poll_output(), Some(Output::Flush)));
    peer.set_endpoint(address(8));
    assert!(peer.poll_output().is_none());
}

#[test]
fn index_changes_come_before_sending_and_an_initiation_comes_last() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    solo.peer.outputs.initiate = true;
    solo.peer.outputs.flush = true;
    solo.peer.outputs.purge = true;
    solo.peer.outputs.gave_up = true;
    let expected = ["Publish(1)", "PurgeStaged", "HandshakeComplete", "HandshakeGaveUp", "Keepalive", "Initiate"];
    assert_eq!(solo.drain(), expected);
}
