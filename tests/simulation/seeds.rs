//! Which seeds are played, by as many threads as there are cores.
//!
//! Environment: `RVPN_SEED` as in `tests/simulation.rs`; `RVPN_SIM_HOURS`, at least so many virtual hours, told of as they
//! pass; `RVPN_SIM_FIRST`, the first seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::scenario;

/// Virtual time of one seed.
const TIME: Duration = Duration::from_secs(2 * 3_600);
/// Virtual hours of the everyday run.
const EVERYDAY_HOURS: f64 = 60.0;

/// What the threads have done together.
struct Progress {
    next: u64,
    seeds: u64,
    hours: f64,
    told: f64,
    failed: bool,
}

#[test]
fn invariants_hold_over_a_bad_network_and_the_tunnel_works_again_after_it() {
    if let Ok(seed) = std::env::var("RVPN_SEED") {
        let (first, end) = seed.split_once("..").unwrap_or((&seed, ""));
        let first = first.parse().expect("RVPN_SEED is a number");
        let end = end.parse().unwrap_or(first + 1);
        if std::env::var_os("RVPN_LOG").is_some() {
            // Without the limits of the program's log.
            let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_target(false);
            let _ = tracing::subscriber::set_global_default(log.with_writer(std::io::stderr).finish());
        }
        (first..end).for_each(|seed| {
            scenario::run(seed, TIME);
        });
        return;
    }
    let asked = number("RVPN_SIM_HOURS");
    let goal = asked.unwrap_or(EVERYDAY_HOURS);
    let first = number("RVPN_SIM_FIRST").unwrap_or(0.0) as u64;
    let progress = Mutex::new(Progress { next: first, seeds: 0, hours: 0.0, told: 0.0, failed: false });
    let started = wall_clock();
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| play(&progress, goal, asked.is_some(), started))).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    });
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    tell(&progress, goal, started);
}

/// Plays seed after seed until the goal is reached or one fails.
fn play(progress: &Mutex<Progress>, goal: f64, is_long: bool, started: std::time::Instant) {
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let seed = {
            let mut progress = lock();
            if progress.failed || progress.hours >= goal {
                return;
            }
            progress.next += 1;
            progress.next - 1
        };
        match catch_unwind(AssertUnwindSafe(|| scenario::run(seed, TIME))) {
            Ok(hours) => {
                let mut progress = lock();
                progress.seeds += 1;
                progress.hours += hours;
                if is_long && progress.hours - progress.told >= goal / 100.0 {
                    progress.told = progress.hours;
                    tell(&progress, goal, started);
                }
            }
            Err(panic) => {
                lock().failed = true;
                failed(seed);
                resume_unwind(panic);
            }
        }
    }
}

fn number(variable: &str) -> Option<f64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[expect(clippy::disallowed_methods, reason = "a person waits for this in real time")]
fn wall_clock() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::print_stderr, reason = "a person waits for this")]
fn tell(progress: &Progress, goal: f64, started: std::time::Instant) {
    let Progress { seeds, hours, .. } = progress;
    let seconds = wall_clock().duration_since(started).as_secs_f64();
    eprintln!("{hours:.0} of {goal:.0} virtual hours, {seeds} seeds, {:.0} hours a second", hours / seconds);
}

#[expect(clippy::print_stderr, reason = "without the seed a failure is worth nothing")]
fn failed(seed: u64) {
    eprintln!("replay with RVPN_SEED={seed} cargo test --test simulation seeds");
}
