//! The handshake slot: every state against every event, and what voids work in flight.

use super::*;
use crate::proto::cookie::CookieChecker;
use crate::proto::crypto::PacketAead;
use crate::proto::handshake::PendingInitiation;
use crate::proto::messages::COOKIE_REPLY_LEN;

/// What must not change when a message is refused.
fn fingerprint(solo: &mut Solo) -> String {
    let status = solo.peer.status();
    let outputs = solo.drain();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        (status.endpoint, status.rx_bytes, status.tx_bytes, status.last_handshake),
        solo.slots(),
        solo.peer.timers,
        solo.peer.epoch,
        (solo.peer.accepted_timestamp, solo.peer.accepted_initiation_at),
        match &solo.peer.handshake {
            Handshake::Nothing => None,
            Handshake::Pending(pending) => Some(pending.index),
            Handshake::Lent(index) => Some(*index),
        },
        outputs,
    )
}

/// A peer with a pending initiation, whose index is returned.
fn pending(now: Instant) -> (Solo, Index) {
    let mut solo = Solo::new();
    assert!(solo.initiate(now));
    let Handshake::Pending(pending) = &solo.peer.handshake else { panic!("nothing is pending") };
    let index = pending.index;
    (solo, index)
}

#[test]
fn a_new_initiation_overwrites_the_pending_one_and_frees_its_index() {
    let (mut solo, first) = pending(start());
    assert!(solo.initiate(at(secs(5))));
    assert_eq!(solo.drain(), [format!("Release({})", first.0)]);
    assert!(solo.peer.take_pending(first).is_none());
    assert!(solo.peer.take_pending(Index(first.0 + 1)).is_some());
}

#[test]
fn an_accepted_initiation_overwrites_the_pending_one_and_frees_its_index() {
    let (mut solo, own) = pending(start());
    let stamp = solo.stamp();
    solo.peer.accept_initiation(at(secs(1)), &mut solo.rng, stamp, learned(9)).unwrap();
    assert_eq!(solo.drain(), [format!("Release({})", own.0)]);
    assert!(solo.peer.take_pending(own).is_none(), "a response to it is dropped");
}

#[test]
fn a_second_initiation_overwrites_one_that_is_being_answered() {
    let mut solo = Solo::new();
    let (first, second) = (solo.stamp(), solo.stamp());
    let epoch = solo.peer.accept_initiation(start(), &mut solo.rng, first, learned(9)).unwrap();
    solo.peer.accept_initiation(at(millis(20)), &mut solo.rng, second, learned(9)).unwrap();
    let keys = solo.keys(Role::Responder);
    let refusal = solo.peer.commit_response(at(millis(21)), &mut solo.rng, epoch, keys, &mut [0; RESPONSE_LEN]);
    assert_eq!(refusal, Err(Refusal::Overtaken));
    assert_eq!(solo.slots(), [0; 3]);
}

#[test]
fn a_response_for_another_index_is_dropped() {
    let (mut solo, own) = pending(start());
    assert!(solo.peer.take_pending(Index(own.0 + 1)).is_none());
    assert!(solo.peer.take_pending(own).is_some());
    assert!(Solo::new().peer.take_pending(Index(1)).is_none());
}

#[test]
fn a_forged_response_leaves_the_pending_initiation_for_the_genuine_one() {
    let mut pair = Pair::new();
    pair.send(A);
    let (.., initiation) = pair.wire.pop_front().unwrap();
    pair.receive(B, initiation);
    let Some((_, _, Datagram::Response(genuine))) = pair.wire.pop_front() else { panic!("no response") };
    for place in [4, 12, 44] {
        let mut forged = genuine;
        forged[place] ^= 1;
        let was_index = place == 4;
        if !was_index {
            pair.receive(A, Datagram::Response(forged));
            assert!(pair.a.peer.sessions.current.is_none());
        }
    }
    let before = pair.a.peer.status();
    assert_eq!((before.rx_bytes, before.endpoint), (0, Some(Endpoint::configured(address(2)))));
    pair.receive(A, Datagram::Response(genuine));
    assert!(pair.a.peer.sessions.current.is_some());
    assert_eq!(pair.a.peer.status().rx_bytes, RESPONSE_LEN as u64);
    pair.receive(A, Datagram::Response(genuine));
    assert_eq!(pair.a.peer.status().rx_bytes, RESPONSE_LEN as u64, "a second time it is for nobody");
}

#[test]
fn a_replayed_timestamp_changes_nothing() {
    let mut solo = Solo::with_session(Role::Responder, start());
    solo.initiate(at(secs(10)));
    let newest = solo.peer.accepted_timestamp;
    let mut older = newest;
    older.0[11] = 0;
    older.0[0] -= 1;
    let before = fingerprint(&mut solo);
    for stamp in [newest, older, Timestamp::default()] {
        let refusal = solo.peer.accept_initiation(at(secs(11)), &mut solo.rng, stamp, learned(3));
        assert_eq!(refusal, Err(Refusal::ReplayedTimestamp));
        assert_eq!(fingerprint(&mut solo), before);
    }
}

#[test]
fn initiations_closer_than_20_ms_change_nothing() {
    let mut solo = Solo::with_session(Role::Responder, start());
    let stamp = solo.stamp();
    let before = fingerprint(&mut solo);
    let nearly = at(millis(20)).minus(Duration::from_nanos(1));
    assert_eq!(solo.peer.accept_initiation(nearly, &mut solo.rng, stamp, learned(3)), Err(Refusal::Flood));
    assert_eq!(fingerprint(&mut solo), before);
    assert!(solo.peer.accept_initiation(at(millis(20)), &mut solo.rng, stamp, learned(3)).is_ok());
}

#[test]
fn refused_initiations_do_not_extend_the_20_ms() {
    let mut solo = Solo::with_session(Role::Responder, start());
    for ms in [5, 10, 15, 19] {
        let stamp = solo.stamp();
        assert!(solo.peer.accept_initiation(at(millis(ms)), &mut solo.rng, stamp, learned(3)).is_err());
    }
    let stamp = solo.stamp();
    assert!(solo.peer.accept_initiation(at(millis(20)), &mut solo.rng, stamp, learned(3)).is_ok());
}

#[test]
fn a_down_interface_accepts_and_starts_no_handshake() {
    let mut solo = Solo::new();
    solo.peer.down();
    solo.drain();
    let stamp = solo.stamp();
    assert_eq!(solo.peer.accept_initiation(start(), &mut solo.rng, stamp, learned(3)), Err(Refusal::Overtaken));
    assert!(!solo.initiate(start()));
    assert!(solo.peer.reserve(start(), 1).is_none());
    assert_eq!(solo.drain(), [""; 0]);
    assert_eq!(solo.peer.poll_timeout(), None);
}

type Event = fn(&mut Solo);

/// The events that make computed handshake steps worthless.
fn voiding_events() -> [(&'static str, Event); 4] {
    [
        ("key change", |solo| solo.peer.identity_changed(SharedSecret::new([8; 32]))),
        ("down", |solo| solo.peer.down()),
        ("down and up", |solo| {
            solo.peer.down();
            solo.peer.up(at(secs(1)));
        }),
        ("another initiation", |solo| {
            let stamp = solo.stamp();
            solo.peer.accept_initiation(at(secs(1)), &mut solo.rng, stamp, learned(9)).unwrap();
        }),
    ]
}

#[test]
fn an_overtaken_initiation_is_not_committed() {
    for (name, event) in voiding_events() {
        let mut solo = Solo::new();
        let plan = solo.peer.begin_initiation(start(), wall_at(start())).unwrap();
        let (pending, mut message) = solo.compute(&plan);
        event(&mut solo);
        solo.drain();
        let before = fingerprint(&mut solo);
        let refusal = solo.peer.commit_initiation(at(secs(1)), &mut solo.rng, plan.epoch, pending, &mut message);
        assert_eq!(refusal, Err(Refusal::Overtaken), "{name}");
        assert_eq!(fingerprint(&mut solo), before, "{name}");
    }
}

#[test]
fn an_overtaken_response_is_not_committed() {
    for (name, event) in voiding_events() {
        let mut solo = Solo::new();
        let stamp = solo.stamp();
        let epoch = solo.peer.accept_initiation(start(), &mut solo.rng, stamp, learned(9)).unwrap();
        event(&mut solo);
        let keys = solo.keys(Role::Responder);
        let refusal = solo.peer.commit_response(at(secs(1)), &mut solo.rng, epoch, keys, &mut [0; RESPONSE_LEN]);
        assert_eq!(refusal, Err(Refusal::Overtaken), "{name}");
        assert_eq!(solo.slots(), [0; 3], "{name}");
    }
}

/// Lends the pending initiation out, lets `event` happen, and returns what was lent.
fn overtaken_loan(event: Event) -> (Solo, PendingInitiation, Epoch) {
    let (mut solo, index) = pending(start());
    let (lent, epoch) = solo.peer.take_pending(index).unwrap();
    assert!(solo.peer.take_pending(index).is_none(), "lent once");
    event(&mut solo);
    let released = format!("Release({})", index.0);
    assert_eq!(solo.drain().iter().filter(|output| **output == released).count(), 1);
    (solo, lent, epoch)
}

#[test]
fn an_overtaken_response_is_not_consumed_and_its_index_is_released_once() {
    for (name, event) in voiding_events() {
        let (mut solo, lent, epoch) = overtaken_loan(event);
        let mut keys = solo.keys(Role::Initiator);
        keys.local = lent.index;
        let now = at(secs(1));
        let refusal = solo.peer.commit_session(now, wall_at(now), &mut solo.rng, epoch, keys, learned(3));
        assert_eq!(refusal, Err(Refusal::Overtaken), "{name}");
        assert_eq!(solo.slots(), [0; 3], "{name}");
        assert_eq!(solo.drain(), [""; 0], "{name}");
    }
}

#[test]
fn an_overtaken_loan_is_not_restored() {
    for (name, event) in voiding_events() {
        let (mut solo, lent, epoch) = overtaken_loan(event);
        let index = lent.index;
        solo.peer.restore_pending(epoch, lent);
        assert!(solo.peer.take_pending(index).is_none(), "{name}");
    }
}

#[test]
fn a_loan_of_an_earlier_epoch_is_not_restored_though_its_index_was_drawn_again() {
    let (mut solo, lent, epoch) = overtaken_loan(|solo| solo.peer.identity_changed(SharedSecret::new([8; 32])));
    solo.peer.handshake = Handshake::Lent(lent.index);
    solo.peer.restore_pending(epoch, lent);
    assert!(matches!(solo.peer.handshake, Handshake::Lent(_)));
}

#[test]
fn without_identity_no_initiation_is_accepted() {
    let mut solo = Solo::new();
    solo.peer.identity_changed(None);
    let stamp = solo.stamp();
    let before = fingerprint(&mut solo);
    assert_eq!(solo.peer.accept_initiation(start(), &mut solo.rng, stamp, learned(3)), Err(Refusal::Overtaken));
    assert_eq!(fingerprint(&mut solo), before);
}

#[test]
fn a_newer_initiation_overtakes_a_response_that_is_being_consumed() {
    let (mut solo, index) = pending(start());
    let (lent, epoch) = solo.peer.take_pending(index).unwrap();
    assert!(solo.initiate(at(secs(5))));
    assert_eq!(solo.drain(), [format!("Release({})", index.0)]);
    solo.peer.restore_pending(epoch, lent);
    assert!(solo.peer.take_pending(index).is_none());
    assert!(solo.peer.take_pending(Index(index.0 + 1)).is_some(), "the newer one stays");
}

#[test]
fn a_completed_handshake_overtakes_an_initiation_that_is_being_computed() {
    let mut solo = Solo::new();
    let plan = solo.peer.begin_initiation(start(), wall_at(start())).unwrap();
    let (pending, mut message) = solo.compute(&plan);
    solo.install_as_initiator(at(secs(1)));
    let refusal = solo.peer.commit_initiation(at(secs(1)), &mut solo.rng, plan.epoch, pending, &mut message);
    assert_eq!(refusal, Err(Refusal::Overtaken));
    assert_eq!(solo.peer.timers.next_deadline(), Some(at(secs(541))));
}

#[test]
fn timestamps_increase_though_the_wall_clock_does_not() {
    let mut solo = Solo::new();
    let mut last = None;
    for (n, secs_since_epoch) in [1_700_000_000, 1_700_000_000, 5, 1_600_000_000].into_iter().enumerate() {
        let wall = WallTime { secs: secs_since_epoch, nanos: 0 };
        let plan = solo.peer.begin_initiation(at(secs(5 * n as u64)), wall).unwrap();
        assert!(Some(plan.timestamp) > last);
        last = Some(plan.timestamp);
    }
}

#[test]
fn each_side_opens_what_the_other_seals() {
    let pair = Pair::with_session();
    let keypair = |peer: &Peer| Arc::clone(&peer.sessions.current.as_ref().unwrap().keypair);
    let (a, b) = (keypair(&pair.a.peer), keypair(&pair.b.peer));
    assert_eq!((a.role, b.role), (Role::Initiator, Role::Responder));
    assert_eq!((a.remote, b.remote), (b.local, a.local));
    for (from, to) in [(&a, &b), (&b, &a)] {
        let mut text = *b"ping";
        let tag = from.sender.seal(3, &mut text);
        let mut packet = [&text[..], &tag].concat();
        assert_eq!(to.receiver.open(3, &mut packet), Ok(4));
        assert_eq!(&packet[..4], b"ping");
    }
}

#[test]
fn a_preshared_key_is_for_the_next_handshake() {
    let mut pair = Pair::with_session();
    for side in [A, B] {
        pair.node(side).peer.set_preshared_key(PresharedKey::new([5; 32]));
    }
    pair.send(A);
    pair.run_until(secs(1));
    assert_eq!(pair.b.delivered, 1, "the session goes on");
    pair.run_until(secs(180));
    pair.send(A);
    pair.run_until(secs(180));
    assert_eq!(pair.b.delivered, 2);
    pair.a.peer.set_preshared_key(PresharedKey::new([6; 32]));
    pair.run_until(secs(360));
    pair.send(A);
    pair.run_until(secs(361));
    assert_eq!(pair.b.delivered, 2, "the keys differ");
}

/// A's initiation is refused by B with a cookie; returns the reply as it reached A.
fn cookie_reply(pair: &mut Pair) -> [u8; COOKIE_REPLY_LEN] {
    pair.send(A);
    let Some((_, _, Datagram::Initiation(message))) = pair.wire.pop_back() else { panic!("no initiation") };
    let mut checker = CookieChecker::new(pair.b.identity.public_key());
    assert!(checker.mac1_is_valid(&message), "commit_initiation fills in mac1");
    checker.reply(pair.now, &mut pair.b.rng, &message, address(1))
}

#[test]
fn a_cookie_reply_moves_no_endpoint_timer_or_counter() {
    let mut pair = Pair::new();
    let reply = cookie_reply(&mut pair);
    let before = (pair.a.peer.endpoint(), pair.a.peer.poll_timeout(), pair.a.peer.status().rx_bytes);
    assert!(pair.a.peer.on_cookie_reply(pair.now, &reply));
    let after = (pair.a.peer.endpoint(), pair.a.peer.poll_timeout(), pair.a.peer.status().rx_bytes);
    assert_eq!(before, after);
    assert!(pair.a.peer.poll_output().is_none(), "nothing is sent before the regular retry");
    assert!(!pair.a.peer.on_cookie_reply(pair.now, &reply), "a cookie is taken once");
}

#[test]
fn the_retry_after_a_cookie_reply_carries_mac2() {
    let mut pair = Pair::new();
    let reply = cookie_reply(&mut pair);
    assert!(pair.a.peer.on_cookie_reply(pair.now, &reply));
    pair.cut[A as usize] = true;
    pair.run_until(secs(5) - MS);
    pair.cut[A as usize] = false;
    pair.delay = secs(1);
    pair.run_until(secs(6) - MS);
    let Some((_, _, Datagram::Initiation(message))) = pair.wire.front() else { panic!("no retry") };
    assert_ne!(message[132..], [0; 16]);
}
