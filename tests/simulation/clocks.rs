//! Clocks that jump: the boot-time clock ahead, as after a suspend, and the calendar in either direction.

use std::time::Duration;

use rvpn::platform::fake::Conditions;
use rvpn::proto::constants::{KEEPALIVE_TIMEOUT, MAX_JITTER, REKEY_TIMEOUT};

use crate::world::World;

/// How soon after the first packet traffic must flow again.
const SOON: Duration = Duration::from_secs(2);
/// A way of 50 ms each.
const FAR: Conditions = Conditions {
    loss: 0,
    duplicates: 0,
    reordering: 0,
    delay: Duration::from_millis(50),
    jitter: Duration::ZERO,
    cut: false,
};

/// A pair that has talked, `age` ago on the clock of the world.
fn talked(seed: u64, age: Duration) -> World {
    let mut pair = World::pair(seed, false);
    pair.set_conditions(FAR);
    flows_within(&mut pair, 0, SOON, "at first");
    flows_within(&mut pair, 1, SOON, "at first");
    pair.run(age);
    pair
}

/// A packet from side `from` arrives, and then one from the other side, together within `limit`.
fn flows_within(pair: &mut World, from: usize, limit: Duration, what: &str) {
    let end = pair.now().plus(limit);
    for side in [from, 1 - from] {
        let number = pair.send(side, 100);
        assert!(pair.run_until(end, |pair| pair.has(number)), "{what}: nothing from side {side} within {limit:?}");
    }
}

#[test]
fn traffic_flows_within_2_seconds_of_the_first_packet_after_a_suspend_of_any_length() {
    for (n, from) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for secs in LENGTHS {
            let mut pair = talked(secs, Duration::from_secs(7));
            pair.suspend(n, Duration::from_secs(secs));
            pair.run(Duration::from_secs(secs));
            if from != n {
                // The one who wakes may have a keepalive to send, and start a handshake for it. Should the other start
                // one in the same tenth of a second, neither is accepted, and jitter decides 5 s later: see
                // `timelines::both_may_initiate_at_once_and_jitter_resolves_it`.
                pair.run(Duration::from_secs(1));
            }
            flows_within(&mut pair, from, SOON, &format!("node {n}, {secs} s"));
        }
    }
}

#[test]
fn traffic_flows_within_2_seconds_of_the_first_packet_of_the_end_whose_boot_time_clock_jumped() {
    for n in [0, 1] {
        for secs in LENGTHS {
            let mut pair = talked(secs, Duration::from_secs(7));
            pair.jump(n, Duration::from_secs(secs));
            flows_within(&mut pair, n, SOON, &format!("node {n}, {secs} s"));
        }
    }
}

#[test]
fn a_packet_every_second_is_answered_within_2_seconds_of_a_jump_whoever_sends() {
    for n in [0, 1] {
        for secs in LENGTHS {
            let mut pair = talked(secs, Duration::from_secs(7));
            pair.jump(n, Duration::from_secs(secs));
            let end = pair.now().plus(Duration::from_secs(30));
            let mut lost = 0;
            while pair.now() < end {
                let numbers = [pair.send(0, 100), pair.send(1, 100)];
                pair.run(Duration::from_secs(1));
                lost += numbers.iter().filter(|number| !pair.has(**number)).count();
            }
            assert!(lost <= 4, "{lost} of 60 packets lost after node {n} jumped {secs} s");
        }
    }
}

/// Seconds: below, at and beyond each lifetime; a night; ten years.
const LENGTHS: [u64; 13] = [1, 4, 5, 9, 10, 60, 119, 120, 165, 180, 540, 28_800, 315_360_000];

#[test]
fn a_calendar_set_back_never_makes_the_peer_refuse_a_handshake() {
    for secs in [1, 3_600, 86_400, 400 * 86_400, 1_699_999_999] {
        for (n, from) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut pair = talked(secs, Duration::from_secs(7));
            for round in 0..5 {
                pair.nodes[n].clock.step_wall(-(secs as i64));
                // All keys are dead: it takes a handshake, of whoever speaks first.
                pair.run(Duration::from_secs(600));
                let before = handshakes(&pair);
                flows_within(&mut pair, (from + round) % 2, SOON, "set back");
                assert_eq!(handshakes(&pair), before + 1, "the first attempt succeeds");
            }
        }
    }
}

#[test]
fn a_calendar_that_was_years_ahead_for_a_while_does_no_harm_once_it_is_right() {
    for n in [0, 1] {
        let mut pair = talked(1, Duration::from_secs(7));
        pair.nodes[n].clock.step_wall(10 * 365 * 86_400);
        pair.run(Duration::from_secs(600));
        flows_within(&mut pair, n, SOON, "then");
        pair.nodes[n].clock.step_wall(-10 * 365 * 86_400);
        pair.run(Duration::from_secs(600));
        flows_within(&mut pair, n, SOON, "then");
    }
}

#[test]
fn a_peer_that_restarts_with_a_calendar_behind_is_refused_until_the_other_end_speaks() {
    let mut pair = talked(1, Duration::from_secs(7));
    // It remembers nothing of what it emitted, as a new process does.
    pair.part(0, 0);
    pair.introduce(0, 0);
    pair.nodes[0].clock.step_wall(-86_400);
    let number = pair.send(0, 100);
    pair.run(Duration::from_secs(60));
    assert!(!pair.has(number), "its timestamps are older than one that was accepted");
    // The other end finds that nobody answers, and its timestamps are new to this one.
    let end = pair.now().plus(KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + MAX_JITTER + SOON);
    while !pair.has(number) {
        assert!(pair.now() < end, "still refused");
        pair.send(1, 100);
        pair.run(Duration::from_secs(1));
    }
}

/// Initiations sent by either side so far.
fn handshakes(pair: &World) -> usize {
    [0, 1].iter().map(|side| pair.paths[0].watch.count(*side, 1)).sum()
}
