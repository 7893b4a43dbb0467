//! Two peers on a bad network, at random: what holds at every step, whatever happens.

use std::collections::HashSet;

use rand::RngExt;

use super::*;

/// Lets `steps` random things happen. `Pair` itself asserts that indices are published and released exactly once and
/// never more than four per peer.
fn walk(seed: u64, steps: usize) -> Pair {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pair = Pair::seeded(seed);
    for _ in 0..steps {
        let side = if rng.random() { A } else { B };
        let now = pair.now;
        match rng.random_range(0..25) {
            0 => pair.cut[side as usize] ^= true,
            1 => pair.delay = millis(rng.random_range(0..3_000)),
            2 => {
                pair.node(side).peer.down();
                pair.drain(side);
                pair.node(side).peer.up(now);
                pair.drain(side);
            }
            3 => {
                let secret = pair.node(side).peer.static_static().cloned();
                pair.node(side).peer.identity_changed(secret);
                pair.drain(side);
            }
            4 => {
                pair.node(side).peer.set_persistent_keepalive(now, rng.random_range(0..40));
                pair.drain(side);
            }
            5 => pair.run_until(pair.elapsed() + secs(rng.random_range(0..700))),
            6..10 => pair.duplicate_on_the_wire(rng.random_range(0..10)),
            10..17 => pair.send(side),
            17 => pair.hand_over(side),
            _ => pair.run_until(pair.elapsed() + millis(rng.random_range(0..10_000))),
        }
    }
    pair
}

#[test]
fn no_counter_of_a_keypair_is_sent_or_delivered_twice() {
    let mut delivered = 0;
    for seed in 0..6 {
        let pair = walk(seed, 400);
        for packets in [&pair.sealed, &pair.opened] {
            let mut seen = HashSet::new();
            assert!(packets.iter().all(|packet| seen.insert(packet)), "seed {seed}");
        }
        delivered += pair.opened.len();
    }
    assert!(delivered > 200, "only {delivered} packets got through");
}

#[test]
fn after_any_past_a_good_network_delivers_within_20_s() {
    for seed in 10..20 {
        let mut pair = walk(seed, 200);
        pair.cut = [false; 2];
        pair.delay = millis(20);
        pair.run_until(pair.elapsed() + secs(3));
        let (delivered, end) = (pair.b.delivered, pair.elapsed() + secs(20));
        pair.send_every(A, secs(1), end);
        assert!(pair.b.delivered > delivered, "seed {seed}");
    }
}
