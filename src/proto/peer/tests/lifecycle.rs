//! Configuration, up and down, change of identity, roaming, and the size of a peer.

use super::*;

#[test]
fn up_flushes_and_sends_one_keepalive_if_it_is_configured() {
    let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
    peer.set_endpoint(address(9));
    peer.up(start());
    assert!(matches!(peer.poll_output(), Some(Output::Flush)));
    assert!(peer.poll_output().is_none());
    peer.down();
    peer.set_persistent_keepalive(start(), 25);
    while peer.poll_output().is_some() {}
    peer.up(start());
    assert!(matches!(peer.poll_output(), Some(Output::Keepalive)));
    assert!(peer.poll_output().is_none());
    peer.up(start());
    assert!(peer.poll_output().is_none(), "it is up already");
}

#[test]
fn a_persistent_keepalive_set_on_a_down_interface_waits_for_up() {
    let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
    peer.set_endpoint(address(9));
    peer.set_persistent_keepalive(start(), 25);
    assert!(peer.poll_output().is_none());
    assert_eq!(peer.poll_timeout(), None);
}

#[test]
fn down_purges_stops_and_destroys() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.install_as_initiator(at(secs(1)));
    solo.drain();
    solo.peer.set_persistent_keepalive(at(secs(2)), 25);
    solo.send(at(secs(2)), true);
    solo.receive_data(at(secs(2)));
    solo.initiate(at(secs(6)));
    solo.peer.down();
    assert_eq!(solo.drain(), ["Release(3)", "Release(1)", "Release(2)", "PurgeStaged"]);
    assert_eq!(solo.peer.poll_timeout(), None);
    assert_eq!(solo.timeout(at(secs(1000))), [""; 0]);
    assert!(solo.peer.reserve(at(secs(7)), 1).is_none());
    assert_eq!(solo.peer.accept(at(secs(7)), Index(1), 0), Err(DropReason::Expired));
}

#[test]
fn down_forgets_what_was_to_be_sent() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.install_as_responder(at(secs(1)));
    solo.drain();
    solo.peer.outputs.initiate = true;
    solo.peer.outputs.keepalive = true;
    solo.peer.outputs.flush = true;
    solo.peer.down();
    assert_eq!(solo.drain(), ["Release(1)", "Release(2)", "PurgeStaged"]);
}

#[test]
fn no_event_arms_a_timer_while_down() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let index = solo.current();
    solo.peer.set_persistent_keepalive(at(secs(2)), 25);
    solo.peer.down();
    solo.drain();
    solo.peer.on_sent(at(secs(3)), &mut solo.rng, Sent { bytes: 128, packets: 1, data: true });
    solo.receive(at(secs(3)), index, true);
    solo.peer.set_persistent_keepalive(at(secs(3)), 0);
    solo.peer.set_persistent_keepalive(at(secs(3)), 5);
    solo.peer.identity_changed(SharedSecret::new([8; 32]));
    assert_eq!(solo.peer.poll_timeout(), None);
    assert_eq!(solo.drain(), [""; 0]);
    assert_eq!(solo.peer.status().tx_bytes, 128, "what left is counted");
}

#[test]
fn down_and_up_keep_timestamps_endpoint_counters_and_the_last_handshake() {
    let mut solo = Solo::with_session(Role::Responder, start());
    solo.send(at(secs(1)), true);
    assert!(solo.initiate(at(secs(6))));
    let before = solo.peer.status();
    let (accepted, emitted) = (solo.peer.accepted_timestamp, solo.peer.emitted_timestamp);
    solo.peer.down();
    solo.peer.up(at(secs(7)));
    let after = solo.peer.status();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert!(before.tx_bytes > 0 && before.rx_bytes > 0 && before.last_handshake.is_some());
    assert_eq!((solo.peer.accepted_timestamp, solo.peer.emitted_timestamp), (accepted, emitted));
    let refusal = solo.peer.accept_initiation(at(secs(8)), &mut solo.rng, accepted, learned(3));
    assert_eq!(refusal, Err(Refusal::ReplayedTimestamp));
}

#[test]
fn after_down_and_up_a_handshake_may_start_at_once() {
    let mut solo = Solo::new();
    assert!(solo.initiate(start()));
    solo.peer.down();
    solo.peer.up(at(secs(1)));
    assert!(solo.initiate(at(secs(1))));
}

#[test]
fn a_change_of_identity_ends_sending_at_once_and_receiving_at_180_s() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let current = solo.current();
    let next = solo.install_as_responder(at(secs(1)));
    solo.drain();
    solo.peer.identity_changed(SharedSecret::new([8; 32]));
    assert_eq!(solo.drain(), [""; 0], "there was an identity: nothing is flushed");
    assert!(solo.peer.reserve(at(secs(2)), 1).is_none());
    assert_eq!(solo.drain(), ["Initiate"], "though a response was sent 1 s ago");
    for index in [current, next] {
        assert_eq!(solo.peer.accept(at(secs(3)), index, 0), Ok(()));
        assert_eq!(solo.peer.accept(at(secs(181)), index, 1), Err(DropReason::Expired));
    }
    solo.receive(at(secs(3)), next, false);
    solo.drain();
    assert!(solo.peer.reserve(at(secs(3)), 1).is_none(), "next was not confirmed under the new identity");
}

#[test]
fn a_change_of_identity_ends_the_pending_initiation() {
    let mut solo = Solo::new();
    solo.initiate(start());
    solo.peer.identity_changed(SharedSecret::new([8; 32]));
    assert_eq!(solo.drain(), ["Release(1)"]);
    assert!(solo.peer.take_pending(Index(1)).is_none());
    assert!(solo.initiate(at(secs(1))), "the last-sent stamp is reset");
}

#[test]
fn authentic_messages_move_the_endpoint_and_nothing_else_does() {
    let configured = Some(Endpoint::configured(address(9)));
    let mut solo = Solo::new();
    assert_eq!(solo.peer.endpoint(), configured);
    let stamp = solo.stamp();
    solo.peer.accept_initiation(start(), &mut solo.rng, stamp, learned(3)).unwrap();
    assert_eq!(solo.peer.endpoint(), Some(learned(3)));
    assert!(solo.peer.accept_initiation(at(secs(1)), &mut solo.rng, stamp, learned(4)).is_err());
    assert_eq!(solo.peer.endpoint(), Some(learned(3)), "a replay does not");

    let mut solo = Solo::new();
    let keys = solo.keys(Role::Initiator);
    let index = keys.local;
    solo.peer.handshake = Handshake::Lent(index);
    let epoch = solo.peer.epoch;
    solo.peer.commit_session(start(), wall_at(start()), &mut solo.rng, epoch, keys, learned(5)).unwrap();
    assert_eq!(solo.peer.endpoint(), Some(learned(5)));

    let received = |from| Received { index, from, data: false };
    solo.peer.on_received(start(), wall_at(start()), &mut solo.rng, received(learned(6)));
    assert_eq!(solo.peer.endpoint(), Some(learned(6)));
    let unknown = Received { index: Index(77), ..received(learned(7)) };
    solo.peer.on_received(start(), wall_at(start()), &mut solo.rng, unknown);
    assert_eq!(solo.peer.endpoint(), Some(learned(6)), "an unknown index does not");
}

#[test]
fn a_configured_endpoint_has_no_source_and_gives_way_to_an_authentic_packet() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    assert_eq!(solo.peer.endpoint(), Some(learned(9)));
    solo.peer.set_endpoint(address(8));
    assert_eq!(solo.peer.endpoint(), Some(Endpoint::configured(address(8))));
    solo.receive_data(at(secs(1)));
    assert_eq!(solo.peer.endpoint(), Some(learned(9)));
}

#[test]
fn a_retry_and_clear_source_forget_the_source_but_not_the_address() {
    let mut solo = Solo::with_session(Role::Responder, start());
    solo.initiate(at(secs(5)));
    assert_eq!(solo.peer.endpoint(), Some(learned(9)));
    let retry = solo.peer.poll_timeout().unwrap();
    solo.timeout(retry);
    assert_eq!(solo.peer.endpoint(), Some(Endpoint::configured(address(9))));

    let mut solo = Solo::with_session(Role::Responder, start());
    solo.peer.clear_source();
    assert_eq!(solo.peer.endpoint(), Some(Endpoint::configured(address(9))));
}

#[test]
fn a_response_goes_to_where_the_initiation_came_from() {
    let mut solo = Solo::new();
    let stamp = solo.stamp();
    let epoch = solo.peer.accept_initiation(start(), &mut solo.rng, stamp, learned(3)).unwrap();
    let keys = solo.keys(Role::Responder);
    let endpoint = solo.peer.commit_response(start(), &mut solo.rng, epoch, keys, &mut [0; RESPONSE_LEN]);
    assert_eq!(endpoint, Ok(learned(3)));
}

#[test]
fn handshakes_are_counted_in_bytes() {
    let mut solo = Solo::new();
    solo.install_as_responder(start());
    assert_eq!(solo.peer.status().rx_bytes, 148);
    solo.install_as_initiator(at(secs(1)));
    assert_eq!(solo.peer.status().rx_bytes, 148 + 92);
    assert_eq!(solo.peer.status().tx_bytes, 0, "the caller knows whether the socket took it");
    solo.peer.add_sent(92, 1);
    solo.peer.add_received(32, 1);
    assert_eq!((solo.peer.status().tx_bytes, solo.peer.status().rx_bytes), (92, 148 + 92 + 32));
}

#[test]
fn an_idle_peer_takes_less_than_1_kib() {
    let peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
    assert_eq!(peer.outputs.allocated(), 0);
    assert!(size_of::<Peer>() < 1024, "{} bytes", size_of::<Peer>());
    // After a session was erased, only the queue of index changes keeps its place.
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.install_as_responder(at(secs(1)));
    solo.timeout(at(secs(1000)));
    let heap = solo.peer.outputs.allocated();
    assert!(size_of::<Peer>() + heap < 1024, "{} + {heap} bytes", size_of::<Peer>());
}
