//! A quarter of an hour of bad luck per seed; the invariants are held against every step (see `watch`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rvpn::platform::fake::Conditions;
use rvpn::proto::constants::{MAX_JITTER, REKEY_TIMEOUT};

use crate::pair::Pair;

/// Seeds of one run of the suite.
const SEEDS: u64 = 60;
/// Virtual time of one seed.
const TIME: Duration = Duration::from_secs(900);

#[test]
fn invariants_hold_over_a_bad_network_and_the_tunnel_works_again_after_it() {
    let seeds = match std::env::var("RVPN_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("RVPN_SEED is a number");
            seed..seed + 1
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
    heal(&mut pair);
    works_again(&mut pair);
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
    // The longest nap, and what is still on its way.
    pair.run(Duration::from_secs(310));
}

/// Both send once a second; each hears from the other soon.
fn works_again(pair: &mut Pair) {
    let start = pair.now();
    pair.trace = std::env::var_os("RVPN_SEED").is_some();
    if pair.trace { eprintln!("{:?}", [0,1].map(|n| crate::config::peer_status(&pair.nodes[n].device, 0))); }
    // An attempt of the last moment before may have failed, and both may initiate at once; jitter resolves that.
    let limit = 2 * (REKEY_TIMEOUT + MAX_JITTER) + Duration::from_secs(1);
    let mut sent = [Vec::new(), Vec::new()];
    loop {
        for (n, sent) in sent.iter_mut().enumerate() {
            sent.push(pair.send(n, 100));
        }
        let heard = |pair: &Pair| sent.iter().all(|sent| sent.iter().any(|number| pair.watch.has(*number)));
        if pair.run_until(pair.now().plus(Duration::from_secs(1)), heard) {
            break;
        }
        assert!(pair.now().since(start) < limit, "no answer {:?} after the network healed", pair.now().since(start));
    }
    // From now on nothing is lost.
    for n in [0, 1] {
        let number = pair.send(n, 100);
        pair.run(Duration::from_secs(1));
        assert!(pair.watch.has(number), "a packet from node {n} was lost on a network that loses nothing");
    }
}

/// Without anything to say, nobody says anything.
fn falls_silent(pair: &mut Pair) {
    pair.run(Duration::from_secs(600));
    let silence = pair.watch.silence(pair.now());
    assert!(silence > Duration::from_secs(500), "idle nodes talked {silence:?} ago");
}
