//! Does the time of sealing and opening depend on what is secret? After Reparaz, Balasch and Verbauwhede, "Dude, is my
//! code constant time?", 2017.
//!
//! `make dudect`. Two classes of input, drawn at random for each measurement and timed alike; Welch's t says whether
//! their means differ. Beyond 4.5 it is a hint, beyond 10 it is a leak, and the exit status is 1 if it is that on each
//! of three attempts (one alone may be a neighbour on the machine).

// A bench reads the clock itself.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rvpn::aead::{Avx512, Key, MAX_BATCH, TAG_LEN};

const PACKET_LEN: usize = 560 + TAG_LEN;
const MEASUREMENTS: usize = 200_000;
const ATTEMPTS: usize = 3;
const LEAK: f64 = 10.0;

fn main() -> ExitCode {
    let Some(backend) = Avx512::detect() else {
        println!("skipped: this processor has no AVX-512 with IFMA");
        return ExitCode::SUCCESS;
    };
    let mut leaks = 0;
    for (name, run) in TESTS {
        let mut least = f64::INFINITY;
        for attempt in 0..ATTEMPTS {
            let t = run(backend, attempt as u64);
            println!("{name:<44} t = {t:>7.2}");
            least = least.min(t.abs());
            if least < LEAK {
                break;
            }
        }
        leaks += usize::from(least >= LEAK);
    }
    ExitCode::from(u8::from(leaks > 0))
}

type Test = fn(Avx512, u64) -> f64;

/// Every class draws, copies and computes the same before it is timed: what that leaves in caches must not differ.
///
/// Which packets of a batch are forged is no secret (it is the result, and decides what is decrypted), so the classes
/// of a test forge the same packets.
const TESTS: [(&str, Test); 5] = [
    ("seal: a fixed text or random ones", |backend, seed| {
        compare(seed, |class, inputs, packets| {
            packets.copy_from_slice(if class { &inputs.random } else { &inputs.fixed });
            (Key::new(backend, &[7; 32]), false)
        })
    }),
    ("seal: a fixed key or random ones", |backend, seed| {
        compare(seed, |class, inputs, packets| {
            packets.copy_from_slice(&inputs.random);
            (Key::new(backend, if class { &inputs.key } else { &[7; 32] }), false)
        })
    }),
    ("open: right tags, texts fixed or random", |backend, seed| {
        compare(seed, |class, inputs, packets| {
            packets.copy_from_slice(if class { &inputs.random } else { &inputs.fixed });
            let key = Key::new(backend, &[7; 32]);
            key.seal(0, &mut split(packets));
            (key, true)
        })
    }),
    ("open: all tags wrong, in the first or last byte", |backend, seed| {
        compare(seed, |class, inputs, packets| {
            packets.copy_from_slice(&inputs.random);
            let key = Key::new(backend, &[7; 32]);
            key.seal(0, &mut split(packets));
            for packet in packets.chunks_exact_mut(PACKET_LEN) {
                packet[if class { PACKET_LEN - TAG_LEN } else { PACKET_LEN - 1 }] ^= 1;
            }
            (key, true)
        })
    }),
    ("open: one tag wrong, in a bit or in every byte", |backend, seed| {
        compare(seed, |class, inputs, packets| {
            packets.copy_from_slice(&inputs.random);
            let key = Key::new(backend, &[7; 32]);
            key.seal(0, &mut split(packets));
            let tag = &mut packets[6 * PACKET_LEN - TAG_LEN..][..TAG_LEN];
            let wrong = if class { [0xa5; TAG_LEN] } else { 1_u128.to_le_bytes() };
            tag.iter_mut().zip(wrong).for_each(|(byte, wrong)| *byte ^= wrong);
            (key, true)
        })
    }),
];

/// What the classes of a test choose between.
struct Inputs {
    fixed: Vec<u8>,
    random: Vec<u8>,
    key: [u8; 32],
}

/// Returns Welch's t of the times of two classes.
fn compare(seed: u64, prepare: impl Fn(bool, &Inputs, &mut [u8]) -> (Key, bool)) -> f64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let counters: [u64; MAX_BATCH] = std::array::from_fn(|n| n as u64);
    let mut bytes = vec![0; MAX_BATCH * PACKET_LEN];
    let mut inputs = Inputs { fixed: bytes.clone(), random: bytes.clone(), key: [0; 32] };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..MEASUREMENTS {
        let class = rng.next_u32() & 1 == 1;
        rng.fill_bytes(&mut inputs.random);
        rng.fill_bytes(&mut inputs.key);
        let (key, open) = prepare(class, &inputs, &mut bytes);
        let mut packets = split(&mut bytes);
        let start = Instant::now();
        if open {
            black_box(key.open(&counters, black_box(&mut packets)));
        } else {
            key.seal(0, black_box(&mut packets));
        }
        times[usize::from(class)].push(start.elapsed().as_nanos() as f64);
    }
    // Interrupts and neighbours make the long ones; they would bury a difference.
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [a, b] = times.map(|times| moments(times.into_iter().filter(|time| *time <= limit)));
    (a.mean - b.mean) / (a.variance / a.count + b.variance / b.count).sqrt()
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

fn moments(values: impl Iterator<Item = f64>) -> Moments {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let distance = value - mean;
        mean += distance / count;
        squares += distance * (value - mean);
    }
    Moments { count, mean, variance: squares / (count - 1.0) }
}

fn split(bytes: &mut [u8]) -> Vec<&mut [u8]> {
    bytes.chunks_exact_mut(PACKET_LEN).collect()
}
