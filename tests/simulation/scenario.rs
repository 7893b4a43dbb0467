//! Hours of bad luck per seed; the invariants are held against every step (see `watch`).

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rvpn::platform::fake::Conditions;
use rvpn::proto::candidates::Order;
use rvpn::proto::constants::{MAX_JITTER, REKEY_TIMEOUT};

use crate::traffic::Traffic;
use crate::world::World;

/// Spokes of a star.
const SPOKES: usize = 50;
/// One seed in so many is a star, the others are pairs.
const STARS: u64 = 32;

/// Plays `seed` for about `time`; returns the hours of virtual time that passed.
///
/// # Panics
/// If an invariant does not hold.
pub(crate) fn run(seed: u64, time: Duration) -> f64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let is_star = seed % STARS == 7;
    let mut world =
        if is_star { World::star(seed, SPOKES, |p| p % 3 == 0) } else { World::pair(seed, rng.random_ratio(1, 3)) };
    for p in 0..world.paths.len() {
        if rng.random_ratio(1, 4) {
            let order = if rng.random_ratio(1, 2) { Order::Fastest } else { Order::Strict };
            world.offer_candidates(p, rng.random_range(0..3), rng.random_range(0..3), order);
        }
        if world.paths[p].nat.is_some() || rng.random_ratio(1, 4) {
            world.keep_alive(p, [25, 1 + rng.random_range(0..100)][rng.random_range(0..2)]);
        }
    }
    let start = world.now();
    // Fifty talk at once: as much happens in a tenth of the time.
    let end = start.plus(if is_star { time / 10 } else { time });
    let mut phase = Phase::begin(&mut world, &mut rng);
    while world.now() < end {
        if world.now() >= phase.end {
            phase.finish(&mut world);
            phase = Phase::begin(&mut world, &mut rng);
        }
        let p = rng.random_range(0..world.paths.len());
        let pause = phase.traffic.say(&mut world, p, &mut rng);
        if rng.random_ratio(1, 10) {
            world.attack();
        }
        world.run(pause / world.paths.len() as u32);
    }
    phase.finish(&mut world);
    // At once after the network healed an attempt may be under way that both began; jitter resolves that, in time.
    heal(&mut world);
    // Ends that initiate within one delay of each other void each other's attempt, as the kernel's do, and jitter sets them
    // apart: on one of fifty paths that has been seen to take five.
    works_again(&mut world, 8 * (REKEY_TIMEOUT + MAX_JITTER));
    // Keys are dead by then.
    world.run(Duration::from_secs(200));
    works_again(&mut world, Duration::from_secs(1));
    for p in 0..world.paths.len() {
        world.keep_alive(p, 0);
    }
    falls_silent(&mut world);
    world.now().since(start).as_secs_f64() / 3_600.0
}

/// A time of one kind of network, one kind of traffic and at most one accident.
struct Phase {
    end: rvpn::proto::time::Instant,
    traffic: Traffic,
    accident: Option<Accident>,
}

/// What must be mended before the next phase.
enum Accident {
    /// The node is down.
    Down(usize),
    /// The side of the path has removed its peer.
    Parted(usize, usize),
}

impl Phase {
    /// Changes the network, and sometimes something worse happens.
    fn begin(world: &mut World, rng: &mut StdRng) -> Self {
        for p in 0..world.paths.len() {
            for link in &mut world.paths[p].links {
                link.set_conditions(Conditions {
                    loss: if rng.random_ratio(1, 2) { rng.random_range(0..=600) } else { 0 },
                    duplicates: rng.random_range(0..200),
                    reordering: rng.random_range(0..200),
                    delay: Duration::from_millis(rng.random_range(0..300)),
                    jitter: Duration::from_millis(rng.random_range(0..50)),
                    cut: rng.random_ratio(1, 8),
                });
            }
            // Both directions: a partition.
            if rng.random_ratio(1, 16) {
                world.paths[p].links.iter_mut().for_each(|link| {
                    link.set_conditions(Conditions { cut: true, ..link.conditions() });
                });
            }
            if rng.random_ratio(1, 4)
                && let Some(nat) = &mut world.paths[p].nat
            {
                nat.rebind();
            }
        }
        let traffic = Traffic::draw(rng);
        let longest = if traffic == Traffic::Idle || traffic == Traffic::Silent { 3_600 } else { 200 };
        let end = world.now().plus(Duration::from_secs(rng.random_range(5..longest)));
        Self { end, traffic, accident: accident(world, rng) }
    }

    /// Mends what went wrong.
    fn finish(&mut self, world: &mut World) {
        wake(world);
        match self.accident.take() {
            Some(Accident::Down(n)) => world.bring_up(n),
            Some(Accident::Parted(p, side)) => {
                let n = world.node_of(p, side);
                world.nodes[n].mend_calendar();
                world.introduce(p, side);
            }
            None => {}
        }
    }
}

fn accident(world: &mut World, rng: &mut StdRng) -> Option<Accident> {
    let n = rng.random_range(0..world.nodes.len());
    let (p, side) = (rng.random_range(0..world.paths.len()), rng.random_range(0..2));
    let kind = rng.random_range(0..12);
    tracing::debug!("accident {kind} at {:?} to node {n}, path {p}, side {side}", world.now());
    match kind {
        0 => world.nodes[n].step_calendar(rng.random_range(-100_000..100_000)),
        1 => world.suspend(n, Duration::from_secs(rng.random_range(1..300))),
        2 => world.jump(n, Duration::from_secs(rng.random_range(1..3_000))),
        3 => {
            world.take_down(n);
            world.bring_up(n);
        }
        4 => {
            world.take_down(n);
            return Some(Accident::Down(n));
        }
        5 => {
            world.part(p, side);
            return Some(Accident::Parted(p, side));
        }
        _ => {}
    }
    None
}

/// The network is good again, and all are awake.
fn heal(world: &mut World) {
    world.set_conditions(Conditions { delay: Duration::from_millis(20), ..Conditions::default() });
    wake(world);
}

fn wake(world: &mut World) {
    while world.sleeps() {
        world.run(Duration::from_secs(1));
    }
}

/// On each path each side sends once a second; within `limit` each hears from the other, and from then on nothing is lost.
fn works_again(world: &mut World, limit: Duration) {
    let start = world.now();
    world.trace = std::env::var_os("RVPN_TRACE").is_some();
    let mut sent = vec![[Vec::new(), Vec::new()]; world.paths.len()];
    let is_heard =
        |world: &World, sent: &[Vec<u64>; 2]| sent.iter().all(|sent| sent.iter().any(|number| world.has(*number)));
    let heard = |world: &World, sent: &[[Vec<u64>; 2]]| sent.iter().all(|sent| is_heard(world, sent));
    while !heard(world, &sent) {
        let waited = world.now().since(start);
        if waited > limit {
            let deaf: Vec<_> = (0..sent.len()).filter(|p| !is_heard(world, &sent[*p])).collect();
            panic!("no answer {waited:?} after the network healed on paths {deaf:?}");
        }
        for side in [0, 1] {
            for (p, sent) in sent.iter_mut().enumerate() {
                sent[side].push(world.send_on(p, side, 100));
            }
            world.run_until(world.now().plus(Duration::from_millis(500)), |world| heard(world, &sent));
        }
    }
    for side in [0, 1] {
        // They may have to wait for a key, if this is the moment when one dies.
        let numbers: Vec<_> = (0..world.paths.len()).map(|p| world.send_on(p, side, 100)).collect();
        let arrived = world.run_until(world.now().plus(limit), |world| numbers.iter().all(|n| world.has(*n)));
        assert!(arrived, "a packet from side {side} was lost on a network that loses nothing");
    }
    world.trace = false;
}

/// Without anything to say, nobody says anything.
fn falls_silent(world: &mut World) {
    world.run(Duration::from_secs(600));
    for path in &world.paths {
        let silence = path.watch.silence(world.now());
        assert!(silence > Duration::from_secs(500), "idle nodes talked {silence:?} ago");
    }
}
