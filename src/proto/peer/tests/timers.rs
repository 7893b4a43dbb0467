//! What arms, cancels and follows from each timer, to the millisecond.

use super::*;

/// When the next of the protocol's own timers is due.
fn due(solo: &Solo) -> Option<Duration> {
    solo.peer.timers.next_deadline().map(|due| due.since(start()))
}

/// A peer without a session, so that only the timer under test is armed.
fn without_session() -> Solo {
    Solo::new()
}

#[test]
fn an_initiation_arms_retransmit_5_s_and_jitter_later() {
    let mut solo = without_session();
    assert!(solo.initiate(start()));
    assert_jittered(due(&solo).unwrap(), secs(5));
    let due = solo.peer.poll_timeout().unwrap();
    assert_eq!(solo.only_at(due), ["Initiate"]);
}

#[test]
fn retransmit_is_armed_anew_by_each_initiation() {
    let mut solo = without_session();
    solo.initiate(start());
    solo.initiate(at(secs(5)));
    assert_jittered(due(&solo).unwrap(), secs(10));
}

#[test]
fn an_initiation_that_is_never_committed_is_retried_at_the_latest_moment() {
    let mut solo = without_session();
    assert!(solo.peer.begin_initiation(start(), wall_at(start())).is_some());
    assert_eq!(solo.only_at(at(secs(5) + millis(333))), ["Initiate"]);
}

#[test]
fn a_completed_handshake_cancels_retransmit() {
    let mut solo = without_session();
    solo.initiate(start());
    solo.install_as_initiator(at(secs(1)));
    assert_eq!(due(&solo), Some(secs(541)));

    let mut solo = without_session();
    let index = solo.install_as_responder(start());
    solo.initiate(at(secs(5)));
    solo.receive(at(secs(6)), index, false);
    assert_eq!(due(&solo), Some(secs(540)));
}

#[test]
fn an_unconfirmed_session_does_not_cancel_retransmit() {
    let mut solo = without_session();
    solo.initiate(start());
    solo.install_as_responder(at(secs(1)));
    assert_jittered(due(&solo).unwrap(), secs(5));
}

#[test]
fn jitter_is_spread_over_0_to_333_ms() {
    let mut rng = StdRng::seed_from_u64(5);
    let drawn: Vec<_> = (0..10_000).map(|_| jitter(&mut rng)).collect();
    assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&Duration::ZERO), Some(&millis(333))));
    drawn.iter().for_each(|drawn| assert_jittered(*drawn, Duration::ZERO));
}

#[test]
fn received_data_arms_the_passive_keepalive_10_s_later() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.receive_data(at(secs(1)));
    solo.receive_data(at(secs(2)));
    assert_eq!(solo.only_at(at(secs(11))), ["Keepalive"]);
}

#[test]
fn a_passive_keepalive_that_could_not_be_sent_is_not_asked_for() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.receive_data(at(secs(1)));
    solo.peer.identity_changed(None);
    assert_eq!(solo.only_at(at(secs(11))), [""; 0]);
}

#[test]
fn a_received_keepalive_does_not_arm_the_passive_keepalive() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let index = solo.current();
    solo.receive(at(secs(1)), index, false);
    assert_eq!(due(&solo), Some(secs(540)));
}

#[test]
fn anything_authenticated_sent_cancels_the_passive_keepalive() {
    type Act = fn(&mut Solo);
    let keepalive: Act = |solo| solo.send(at(secs(6)), false);
    let data: Act = |solo| solo.send(at(secs(6)), true);
    let initiation: Act = |solo| assert!(solo.initiate(at(secs(6))));
    let response: Act = |solo| {
        solo.install_as_responder(at(secs(6)));
    };
    for act in [keepalive, data, initiation, response] {
        let mut solo = Solo::with_session(Role::Initiator, start());
        solo.receive_data(at(secs(1)));
        assert!(solo.peer.timers.is_armed(Timer::PassiveKeepalive));
        act(&mut solo);
        assert!(!solo.peer.timers.is_armed(Timer::PassiveKeepalive));
    }
}

#[test]
fn data_during_a_pending_passive_keepalive_makes_another_if_the_first_cannot_be_sent() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.receive_data(at(secs(1)));
    solo.receive_data(at(secs(2)));
    assert_eq!(solo.timeout(at(secs(11))), ["Keepalive"]);
    assert_eq!(solo.only_at(at(secs(21))), ["Keepalive"]);
    assert_eq!(due(&solo), Some(secs(540)), "and only one");
}

#[test]
fn the_wish_for_another_keepalive_outlives_a_sent_packet() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.receive_data(at(secs(1)));
    solo.receive_data(at(secs(2)));
    solo.send(at(secs(3)), false);
    solo.receive_data(at(secs(4)));
    assert_eq!(solo.only_at(at(secs(14))), ["Keepalive"]);
    assert_eq!(due(&solo), Some(secs(24)));
}

#[test]
fn sent_data_arms_the_new_handshake_15_s_and_jitter_later_once() {
    let mut solo = Solo::with_session(Role::Responder, start());
    solo.send(at(secs(10)), true);
    solo.send(at(secs(12)), true);
    assert_jittered(due(&solo).unwrap(), secs(25));
    let deadline = solo.peer.poll_timeout().unwrap();
    assert!(solo.peer.endpoint().unwrap().source.is_some());
    assert_eq!(solo.only_at(deadline), ["Initiate"]);
    assert_eq!(solo.peer.endpoint(), Some(Endpoint::configured(address(9))), "the cached source is suspect");
}

#[test]
fn a_keepalive_or_data_the_socket_refused_does_not_arm_the_new_handshake() {
    let mut solo = Solo::with_session(Role::Responder, start());
    solo.send(at(secs(1)), false);
    solo.peer.on_sent(at(secs(1)), &mut solo.rng, Sent::default());
    assert_eq!(due(&solo), Some(secs(540)));
}

#[test]
fn anything_authenticated_received_cancels_the_new_handshake() {
    type Act = fn(&mut Solo);
    let transport: Act = |solo| {
        let index = solo.current();
        solo.receive(at(secs(6)), index, false);
    };
    let initiation: Act = |solo| {
        let stamp = solo.stamp();
        solo.peer.accept_initiation(at(secs(6)), &mut solo.rng, stamp, learned(9)).unwrap();
    };
    let response: Act = |solo| {
        solo.install_as_initiator(at(secs(6)));
    };
    for act in [transport, initiation, response] {
        let mut solo = Solo::with_session(Role::Responder, start());
        solo.send(at(secs(1)), true);
        assert!(solo.peer.timers.is_armed(Timer::NewHandshake));
        act(&mut solo);
        assert!(!solo.peer.timers.is_armed(Timer::NewHandshake));
    }
}

#[test]
fn keys_are_erased_540_s_after_the_newest_session_was_derived() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.install_as_initiator(at(secs(100)));
    solo.install_as_responder(at(secs(200)));
    solo.drain();
    assert_eq!(solo.slots(), [0, 2, 3], "answering destroys previous");
    assert_eq!(solo.only_at(at(secs(740))), ["Release(2)", "Release(3)"]);
    assert_eq!(solo.slots(), [0; 3]);
    assert_eq!(due(&solo), None);
}

#[test]
fn erasing_keys_ends_a_pending_initiation() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.initiate(at(secs(536)));
    assert_eq!(solo.timeout(at(secs(540))), ["Release(2)", "Release(1)"]);
    assert!(solo.peer.take_pending(Index(2)).is_none());
}

#[test]
fn giving_up_arms_the_erasure_only_if_no_session_did() {
    let mut solo = without_session();
    let gave_up = give_up(&mut solo, start());
    assert_eq!(solo.peer.poll_timeout(), Some(gave_up.plus(secs(540))));

    let mut solo = Solo::with_session(Role::Initiator, start());
    give_up(&mut solo, at(secs(100)));
    assert_eq!(due(&solo), Some(secs(540)));
}

/// Initiates at `now` and lets every retry go unanswered; returns when the peer gave up.
fn give_up(solo: &mut Solo, now: Instant) -> Instant {
    let mut sent = 1;
    assert!(solo.initiate(now));
    loop {
        let due = solo.peer.timers.next_deadline().unwrap();
        let outputs = solo.timeout(due);
        if outputs.contains(&"HandshakeGaveUp".to_owned()) {
            assert_eq!(outputs, ["PurgeStaged", "HandshakeGaveUp"]);
            assert_eq!(sent, 20);
            return due;
        }
        assert!(outputs.contains(&"Initiate".to_owned()), "{outputs:?}");
        assert!(solo.initiate(due));
        solo.drain();
        sent += 1;
    }
}

#[test]
fn exactly_20_initiations_are_sent_before_giving_up_between_100_and_107_s() {
    let mut solo = without_session();
    let gave_up = give_up(&mut solo, start()).since(start());
    assert!(gave_up >= secs(100) && gave_up < secs(107), "{gave_up:?}");
}

#[test]
fn a_completed_handshake_starts_counting_attempts_anew() {
    let mut solo = without_session();
    solo.initiate(start());
    for _ in 0..10 {
        let retry = solo.peer.poll_timeout().unwrap();
        solo.timeout(retry);
        assert!(solo.initiate(retry));
    }
    solo.install_as_initiator(at(secs(60)));
    // Counts to 20 itself, without a request that would start anew.
    give_up(&mut solo, at(secs(100)));
}

#[test]
fn giving_up_cancels_the_passive_keepalive_even_at_the_same_moment() {
    let mut pair = Pair::with_session();
    pair.cut[A as usize] = true;
    let peer = &mut pair.a.peer;
    peer.timers.handshake_stamped(start());
    (0..19).for_each(|_| peer.timers.handshake_retried());
    peer.timers.initiation_suppressed(secs(5));
    peer.timers.data_received(start());
    assert_eq!(peer.poll_timeout(), Some(at(secs(10))));
    peer.handle_timeout(at(secs(10)), &mut pair.a.rng);
    let outputs: Vec<_> = std::iter::from_fn(|| peer.poll_output()).map(|output| format!("{output:?}")).collect();
    assert_eq!(outputs, ["PurgeStaged", "HandshakeGaveUp"]);
}

#[test]
fn a_packet_to_send_starts_counting_attempts_anew() {
    let mut solo = without_session();
    let mut now = start();
    solo.initiate(now);
    for _ in 0..60 {
        now = solo.peer.poll_timeout().unwrap();
        // Half a second after an initiation: none may be sent, but the attempts are forgotten.
        assert!(solo.peer.reserve(now.minus(millis(4500)), 1).is_none());
        assert_eq!(solo.timeout(now), ["Initiate"]);
        assert!(solo.initiate(now));
        solo.drain();
    }
}

#[test]
fn the_persistent_keepalive_is_armed_by_everything_authenticated() {
    type Act = fn(&mut Solo);
    let sent: Act = |solo| solo.send(at(secs(6)), false);
    let initiation: Act = |solo| assert!(solo.initiate(at(secs(6))));
    let answered: Act = |solo| {
        solo.install_as_responder(at(secs(6)));
    };
    let response: Act = |solo| {
        solo.install_as_initiator(at(secs(6)));
    };
    let received: Act = |solo| {
        let index = solo.current();
        solo.receive(at(secs(6)), index, false);
    };
    for act in [sent, initiation, answered, response, received] {
        let mut solo = Solo::with_session(Role::Responder, start());
        solo.peer.set_persistent_keepalive(start(), 25);
        act(&mut solo);
        solo.drain();
        if solo.peer.timers.is_armed(Timer::Retransmit) {
            solo.peer.timers.handshake_complete();
        }
        assert_eq!(solo.only_at(at(secs(31))), ["Keepalive"]);
    }
}

#[test]
fn persistent_keepalives_from_0_to_n_ask_at_once_and_from_n_to_m_do_not() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.set_persistent_keepalive(at(secs(1)), 25);
    assert_eq!(solo.drain(), ["Keepalive"]);
    solo.peer.set_persistent_keepalive(at(secs(2)), 10);
    assert_eq!(solo.drain(), [""; 0]);
    assert_eq!(solo.only_at(at(secs(26))), ["Keepalive"], "the running deadline keeps its length");
    assert_eq!(solo.only_at(at(secs(36))), ["Keepalive"], "the next has the new one");
    assert_eq!(solo.peer.status().persistent_keepalive, 10);
}

#[test]
fn a_persistent_keepalive_of_0_is_off() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.set_persistent_keepalive(at(secs(1)), 25);
    solo.drain();
    solo.peer.set_persistent_keepalive(at(secs(2)), 0);
    solo.send(at(secs(3)), false);
    assert_eq!(due(&solo), Some(secs(540)));
}

#[test]
fn persistent_keepalives_ask_a_dead_peer_for_ever() {
    for interval in [1, 3, 5, 25, 600] {
        let mut pair = Pair::new();
        pair.cut[B as usize] = true;
        let now = pair.now;
        pair.a.peer.set_persistent_keepalive(now, interval);
        pair.drain(A);
        pair.run_until(secs(7200));
        let last = pair.sent(A, Initiation).into_iter().max().unwrap();
        assert!(last > secs(7200 - 610), "interval {interval}: last at {last:?}");
    }
}

#[test]
fn the_last_minute_initiation_is_asked_for_once_per_session() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    let index = solo.current();
    solo.receive(at(secs(165) - MS), index, false);
    assert_eq!(solo.drain(), [""; 0]);
    solo.receive(at(secs(165)), index, false);
    assert_eq!(solo.drain(), ["Initiate"]);
    solo.receive(at(secs(166)), index, false);
    assert_eq!(solo.drain(), [""; 0]);
    let index = solo.install_as_initiator(at(secs(167)));
    solo.drain();
    solo.receive(at(secs(167 + 165)), index, false);
    assert_eq!(solo.drain(), ["Initiate"]);
}

#[test]
fn a_responder_does_not_renew_because_of_age() {
    let mut solo = Solo::with_session(Role::Responder, start());
    let index = solo.current();
    solo.send(at(secs(180) - MS), true);
    solo.receive(at(secs(180) - MS), index, false);
    assert_eq!(solo.drain(), [""; 0]);
}

#[test]
fn keepalives_renew_an_old_key_too() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.send(at(secs(120) - MS), false);
    assert_eq!(solo.drain(), [""; 0]);
    solo.send(at(secs(120)), false);
    assert_eq!(solo.drain(), ["Initiate"]);
}
