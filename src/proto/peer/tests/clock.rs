//! A clock that stands still, jumps ahead or goes back: nothing panics, nothing storms.

use rand::RngExt;

use super::*;

#[test]
fn a_jump_ahead_by_years_runs_each_timer_once() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.set_persistent_keepalive(start(), 25);
    solo.send(start(), true);
    solo.receive_data(start());
    solo.initiate(at(secs(1)));
    solo.drain();
    let later = at(secs(20 * 365 * 86_400));
    let outputs = solo.timeout(later);
    assert_eq!(outputs, ["Release(2)", "Release(1)", "Keepalive", "Initiate"]);
    assert_eq!(solo.timeout(later), [""; 0]);
    assert!(solo.initiate(later));
}

#[test]
fn at_the_end_of_time_nothing_panics_or_hangs() {
    let end = Instant::from_nanos(u64::MAX);
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.peer.set_persistent_keepalive(start(), u16::MAX);
    for _ in 0..100 {
        solo.timeout(end);
        solo.initiate(end);
        let stamp = solo.stamp();
        let _ = solo.peer.accept_initiation(end, &mut solo.rng, stamp, learned(9));
        solo.drain();
    }
}

#[test]
fn on_a_clock_that_went_back_sessions_stay_young_and_initiations_wait() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    assert!(solo.initiate(at(secs(5))));
    let back = Instant::from_nanos(0);
    assert!(solo.peer.reserve(back, 1).is_some());
    assert!(!solo.initiate(back));
    assert_eq!(solo.timeout(back), [""; 0]);
    let index = solo.current();
    assert_eq!(solo.peer.accept(back, index, 0), Ok(()));
}

#[test]
fn no_jump_of_the_clock_makes_two_initiations_within_5_s() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut solo = Solo::new();
    let mut now = start();
    let mut last: Option<Instant> = None;
    for _ in 0..5_000 {
        now = match rng.random_range(0..8) {
            0 => now.plus(secs(rng.random_range(0..100_000_000))),
            1 => now.minus(secs(rng.random_range(0..100_000_000))),
            2 => now.minus(millis(rng.random_range(0..6_000))),
            _ => now.plus(millis(rng.random_range(0..3_000))),
        };
        solo.timeout(now);
        if solo.peer.reserve(now, 1).is_none() {
            solo.drain();
        }
        if solo.initiate(now) {
            assert!(last.is_none_or(|last| now.since(last) >= secs(5)));
            last = Some(now);
        }
        solo.drain();
    }
    assert!(last.is_some());
}

#[test]
fn early_and_repeated_timeouts_do_nothing() {
    let mut solo = Solo::with_session(Role::Initiator, start());
    solo.receive_data(start());
    for _ in 0..3 {
        assert_eq!(solo.timeout(at(secs(10) - MS)), [""; 0]);
    }
    assert_eq!(solo.timeout(at(secs(10))), ["Keepalive"]);
    assert_eq!(solo.timeout(at(secs(10))), [""; 0]);
}
