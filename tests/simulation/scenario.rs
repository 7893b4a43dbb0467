//! A quarter of an hour of bad luck per seed; the invariants are held against every step (see `watch`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rvpn::platform::fake::Conditions;
use rvpn::proto::constants::{MAX_JITTER, REKEY_TIMEOUT};

use crate::pair::Pair;

/// Seeds of one run of the suite.
const SEEDS: u64 = 20;
/// Virtual time of one seed.
const TIME: Duration = Duration::from_secs(900);

#[test]
fn invariants_hold_over_a_bad_network_and_the_tunnel_works_again_after_it() {
    let seeds = match std::env::var("RVPN_SEED") {
        Ok(seed) => {
            let (first, end) = seed.split_once("..").unwrap_or((&seed, ""));
            let first = first.parse().expect("RVPN_SEED is a number");
            first..end.parse().unwrap_or(first + 1)
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("replay with RVPN_SEED={seed} cargo test --test simulation");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let nat = rng.random_ratio(1, 3);
    let mut pair = Pair::new(seed, nat);
    if nat {
        let node = &pair.nodes[0];
        crate::config::set_keepalive(&node.device, pair.nodes[1].keys.public, 25);
    }
    let end = pair.now().plus(TIME);
    let mut phase_end = pair.now();
    let mut pause = 1;
    while pair.now() < end {
        if pair.now() >= phase_end {
            begin_phase(&mut pair, &mut rng);
            phase_end = pair.now().plus(Duration::from_secs(rng.random_range(5..120)));
            pause = [300, 2_000, 10_000, 40_000][rng.random_range(0..4)];
        }
        let (from, len) = (rng.random_range(0..2), rng.random_range(8..1_300));
        for _ in 0..rng.random_range(1..20) {
            pair.send(from, len);
        }
        if rng.random_ratio(1, 10) {
            pair.attack();
        }
        pair.run(Duration::from_millis(rng.random_range(1..=pause)));
    }
    // At once after the network healed an attempt may be under way that both began; jitter resolves that, in time.
    heal(&mut pair);
    works_again(&mut pair, 4 * (REKEY_TIMEOUT + MAX_JITTER));
    // Keys are dead by then.
    pair.run(Duration::from_secs(200));
    works_again(&mut pair, Duration::from_secs(1));
    if !nat {
        falls_silent(&mut pair);
    }
}

/// Changes the network, and sometimes something worse happens.
fn begin_phase(pair: &mut Pair, rng: &mut StdRng) {
    for link in &mut pair.links {
        link.set_conditions(Conditions {
            loss: if rng.random_ratio(1, 2) { rng.random_range(0..600) } else { 0 },
            duplicates: rng.random_range(0..200),
            reordering: rng.random_range(0..200),
            delay: Duration::from_millis(rng.random_range(0..300)),
            jitter: Duration::from_millis(rng.random_range(0..50)),
            cut: rng.random_ratio(1, 8),
        });
    }
    let n = rng.random_range(0..2);
    match rng.random_range(0..10) {
        0 => pair.nodes[n].clock.step_wall(rng.random_range(-100_000..100_000)),
        1 => pair.suspend(n, Duration::from_secs(rng.random_range(1..300))),
        2 => pair.restart(n),
        3 | 4 => {
            if let Some(nat) = &mut pair.nat {
                nat.rebind();
            }
        }
        _ => {}
    }
}

/// The network is good again, and all are awake.
fn heal(pair: &mut Pair) {
    pair.set_conditions(Conditions { delay: Duration::from_millis(20), ..Conditions::default() });
    while pair.sleeps() {
        pair.run(Duration::from_secs(1));
    }
}

/// Each sends once a second; within `limit` each hears from the other, and from then on nothing is lost.
fn works_again(pair: &mut Pair, limit: Duration) {
    let start = pair.now();
    pair.trace = std::env::var_os("RVPN_TRACE").is_some();
    let mut sent = [Vec::new(), Vec::new()];
    let heard =
        |pair: &Pair, sent: &[Vec<u64>; 2]| sent.iter().all(|sent| sent.iter().any(|number| pair.watch.has(*number)));
    while !heard(pair, &sent) {
        assert!(pair.now().since(start) <= limit, "no answer {:?} after the network healed", pair.now().since(start));
        for n in [0, 1] {
            sent[n].push(pair.send(n, 100));
            pair.run_until(pair.now().plus(Duration::from_millis(500)), |pair| heard(pair, &sent));
        }
    }
    for n in [0, 1] {
        // It may have to wait for a key, if this is the moment when one dies.
        let number = pair.send(n, 100);
        let arrived = pair.run_until(pair.now().plus(limit), |pair| pair.watch.has(number));
        assert!(arrived, "a packet from node {n} was lost on a network that loses nothing");
    }
    pair.trace = false;
}

/// Without anything to say, nobody says anything.
fn falls_silent(pair: &mut Pair) {
    pair.run(Duration::from_secs(600));
    let silence = pair.watch.silence(pair.now());
    assert!(silence > Duration::from_secs(500), "idle nodes talked {silence:?} ago");
}
