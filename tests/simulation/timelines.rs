//! The worked timelines of the protocol, by whole devices.

use std::time::Duration;

use rvpn::platform::fake::Conditions;
use rvpn::proto::constants::{KEEPALIVE_TIMEOUT, MAX_JITTER, REKEY_AFTER_TIME, REKEY_TIMEOUT};

use crate::packets::Flow;
use crate::world::World;

/// A number that no packet of the world has.
const FOREIGN: u64 = u64::MAX >> 16;
const MILLI: Duration = Duration::from_millis(1);

/// Two nodes with a session of which node 0 is the initiator, on a network that takes no time.
fn established() -> World {
    let mut pair = World::pair(1, false);
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    let number = pair.send(1, 100);
    assert!(pair.has(number));
    pair.run(Duration::from_secs(30));
    assert_eq!((pair.paths[0].watch.count(0, 1), pair.paths[0].watch.count(1, 1)), (1, 0));
    pair
}

#[test]
fn one_datagram_is_answered_by_a_keepalive_after_10_seconds_and_then_silence() {
    let mut pair = established();
    let before = [pair.paths[0].watch.count(0, 4), pair.paths[0].watch.count(1, 4)];
    pair.send(0, 100);
    pair.run(KEEPALIVE_TIMEOUT - MILLI);
    assert_eq!(pair.paths[0].watch.count(1, 4), before[1]);
    pair.run(MILLI);
    assert_eq!(pair.paths[0].watch.count(1, 4), before[1] + 1);
    pair.run(Duration::from_secs(1_000));
    assert_eq!([pair.paths[0].watch.count(0, 4), pair.paths[0].watch.count(1, 4)], [before[0] + 1, before[1] + 1]);
    assert_eq!(pair.paths[0].watch.count(0, 1), 1);
}

#[test]
fn data_that_is_not_answered_starts_a_handshake_after_15_seconds_and_again_every_5() {
    let mut pair = established();
    pair.paths[0].links[1].set_conditions(Conditions { cut: true, ..Conditions::default() });
    pair.paths[0].links[0].set_conditions(Conditions { cut: true, ..Conditions::default() });
    pair.send(0, 100);
    let first = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT;
    pair.run(first - MILLI);
    assert_eq!(pair.paths[0].watch.count(0, 1), 1);
    pair.run(MAX_JITTER + 2 * MILLI);
    assert_eq!(pair.paths[0].watch.count(0, 1), 2);
    // 1 + 19 transmissions, 5.0 to 5.334 s apart.
    pair.run(Duration::from_secs(120));
    assert_eq!(pair.paths[0].watch.count(0, 1), 21);
    pair.run(Duration::from_secs(1_000));
    assert_eq!(pair.paths[0].watch.count(0, 1), 21);
}

#[test]
fn the_initiator_renews_its_key_with_the_first_packet_sent_at_120_seconds_and_loses_none() {
    let mut pair = established();
    pair.run(REKEY_AFTER_TIME - Duration::from_secs(30) - MILLI);
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    assert_eq!(pair.paths[0].watch.count(0, 1), 1);
    pair.run(MILLI);
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    assert_eq!((pair.paths[0].watch.count(0, 1), pair.paths[0].watch.count(1, 2)), (2, 2));
}

#[test]
fn only_the_initiator_renews_when_only_the_responder_has_something_to_say() {
    let mut pair = established();
    // The session is 30 s old.
    while pair.paths[0].watch.count(0, 1) == 1 {
        pair.send(1, 100);
        pair.run(Duration::from_secs(1));
        assert!(pair.paths[0].watch.age(pair.now()) < Duration::from_secs(132));
    }
    assert!(pair.paths[0].watch.age(pair.now()) >= REKEY_AFTER_TIME, "after the first passive keepalive at 120 s");
    assert_eq!(pair.paths[0].watch.count(1, 1), 0);
}

#[test]
fn both_may_initiate_at_once_and_jitter_resolves_it() {
    for seed in 0..20 {
        let mut pair = World::pair(seed, false);
        pair.set_conditions(Conditions { delay: Duration::from_millis(10), ..Conditions::default() });
        let numbers = [pair.send(0, 100), pair.send(1, 100)];
        let end = pair.now().plus(6 * (REKEY_TIMEOUT + MAX_JITTER));
        let both = |pair: &World| numbers.iter().all(|number| pair.has(*number));
        assert!(pair.run_until(end, both), "seed {seed}");
    }
}

#[test]
fn the_responder_follows_an_initiator_whose_box_rebinds() {
    let mut pair = World::pair(1, true);
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    pair.paths[0].nat.as_mut().expect("a box").rebind();
    let lost = pair.send(1, 100);
    assert!(!pair.has(lost), "the old port leads nowhere");
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    let number = pair.send(1, 100);
    assert!(pair.has(number), "the answer finds the new port");
}

#[test]
fn an_authentic_packet_from_an_address_that_is_not_allowed_moves_the_endpoint_all_the_same() {
    let mut pair = World::pair(1, true);
    pair.send(0, 100);
    pair.paths[0].nat.as_mut().expect("a box").rebind();
    let foreign = Flow::new("10.0.0.99", "10.0.0.2").numbered(FOREIGN, 100);
    pair.inject(0, &foreign);
    assert!(!pair.has(FOREIGN), "it is not delivered");
    let number = pair.send(1, 100);
    assert!(pair.has(number), "the answer finds the new port");
}

#[test]
fn a_night_of_suspend_is_over_at_once() {
    let mut pair = established();
    pair.suspend(0, Duration::from_secs(8 * 3_600));
    pair.run(Duration::from_secs(8 * 3_600));
    let number = pair.send(0, 100);
    assert!(pair.has(number));
    let number = pair.send(1, 100);
    assert!(pair.has(number));
}

#[test]
fn a_calendar_that_jumps_does_not_stop_handshakes() {
    for step in [-400 * 86_400, 400 * 86_400] {
        let mut pair = established();
        pair.nodes[0].clock.step_wall(step);
        pair.run(Duration::from_secs(200));
        let number = pair.send(0, 100);
        assert!(pair.has(number), "a step of {step} s");
        assert_eq!(pair.paths[0].watch.count(0, 1), 2);
    }
}
