//! When a peer counts as connected, as silent and as roamed.

use super::*;

/// What is told about the peer's presence since this was last asked.
fn told(solo: &mut Solo) -> Vec<String> {
    std::iter::from_fn(|| solo.peer.poll_output())
        .filter(|output| matches!(output, Output::Connected | Output::Silent | Output::Roamed(_)))
        .map(|output| format!("{output:?}"))
        .collect()
}

/// What is told at `now` because time has passed.
fn told_at(solo: &mut Solo, now: Instant) -> Vec<String> {
    solo.peer.handle_timeout(now, &mut solo.rng);
    told(solo)
}

#[test]
fn the_first_handshake_connects_and_a_rekey_is_no_news() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    assert_eq!(told(&mut solo), ["Connected"]);
    solo.install_as_initiator(at(secs(120)));
    assert_eq!(told(&mut solo), [""; 0]);
}

#[test]
fn an_initiation_alone_does_not_connect() {
    let mut solo = Solo::new();
    let index = solo.install_as_responder(start());
    assert_eq!(told(&mut solo), [""; 0], "whoever holds the peer's key can send one, and may not hear the response");
    solo.receive(start(), index, false);
    assert_eq!(told(&mut solo), ["Connected"]);
}

#[test]
fn a_peer_is_silent_180_s_after_the_last_thing_heard_and_says_so_once() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    solo.receive_data(at(secs(100)));
    told(&mut solo);
    for quiet in [secs(180), secs(280) - MS] {
        assert_eq!(told_at(&mut solo, at(quiet)), [""; 0]);
    }
    assert_eq!(told_at(&mut solo, at(secs(280))), ["Silent"]);
    assert_eq!(told_at(&mut solo, at(secs(10_000))), [""; 0]);
}

#[test]
fn silence_is_a_deadline_of_its_own() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    assert_eq!(solo.peer.poll_timeout(), Some(at(secs(180))));
    solo.receive(at(secs(1)), solo.current(), false);
    told_at(&mut solo, at(secs(180)));
    assert_eq!(solo.peer.poll_timeout(), Some(at(secs(181))));
    told_at(&mut solo, at(secs(181)));
    assert_eq!(solo.peer.poll_timeout(), Some(at(secs(540))), "that of the keys");
}

#[test]
fn a_handshake_after_silence_connects_again() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    assert_eq!(told_at(&mut solo, at(secs(200))), ["Connected", "Silent"]);
    solo.install_as_initiator(at(secs(300)));
    assert_eq!(told(&mut solo), ["Connected"]);
}

#[test]
fn no_session_is_alive_when_a_peer_falls_silent() {
    let mut solo = Solo::new();
    let index = solo.install_as_responder(start());
    solo.receive(at(secs(179)), index, false);
    told(&mut solo);
    assert_eq!(told_at(&mut solo, at(secs(359))), ["Silent"]);
    assert_eq!(solo.peer.accept(at(secs(359)), index, 1), Err(DropReason::Expired));
}

#[test]
fn an_interface_that_was_down_connects_anew_and_tells_of_no_silence() {
    let mut solo = Solo::new();
    solo.install_as_initiator(start());
    told(&mut solo);
    solo.peer.down();
    assert_eq!(told_at(&mut solo, at(secs(500))), [""; 0]);
    assert_eq!(solo.peer.poll_timeout(), None);
    solo.peer.up(at(secs(500)));
    solo.install_as_initiator(at(secs(500)));
    assert_eq!(told(&mut solo), ["Connected"]);
}

#[test]
fn a_move_of_the_endpoint_is_told_with_the_one_before() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let index = solo.current();
    let mut from = |host| {
        let received = Received { index, from: learned(host), data: true };
        solo.peer.on_received(start(), wall_at(start()), &mut solo.rng, received);
    };
    from(8);
    from(7);
    assert_eq!(told(&mut solo), [format!("Roamed({})", address(9))], "two moves in one batch are one");
    solo.receive(start(), index, true);
    assert_eq!(told(&mut solo), [format!("Roamed({})", address(7))]);
    solo.receive(start(), index, true);
    assert_eq!(told(&mut solo), [""; 0]);
}

#[test]
fn a_first_endpoint_and_another_way_to_the_same_one_are_no_moves() {
    let mut solo = Solo::new();
    let another_way = Endpoint::configured(address(9));
    solo.install_as_initiator(start());
    let received = Received { index: solo.current(), from: another_way, data: true };
    solo.peer.on_received(start(), wall_at(start()), &mut solo.rng, received);
    assert_eq!(told(&mut solo), ["Connected"]);

    solo.peer.endpoint = None;
    solo.receive_data(start());
    assert_eq!(told(&mut solo), [""; 0]);
}
