//! ChaCha20-Poly1305 by size and batch: what sessions use, the multi-packet back-end alone and three libraries,
//! in turn.
//!
//! `cargo bench --bench aead`; with `-- 1440` only that size.
//!
//! Every figure is the median of rounds in which the contenders take turns on the same bytes, so that a neighbour on the
//! machine meets all of them. Hot: a working set of 16 KiB, or one batch if that is more. Cold: cycling through 32 MiB.

// A bench reads the clock itself.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use ring::aead as ring;
use rvpn::aead::{self, Avx512, Key, TAG_LEN};
use rvpn::control::environment::AEAD_LIBRARY;
use rvpn::proto::crypto::{Aead, BadTag, PacketAead, PacketKey};
use rvpn::proto::keys::SessionKey;

const SIZES: [usize; 4] = [64, 576, 1440, 9000];
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 44, 128];
const MAX_BATCH: usize = 128;
const COLD: usize = 32 << 20;
/// Bytes that a contender works on in its turn: short beside the time a processor is lent for.
const SLICE: usize = 512 << 10;
const COUNTERS: [u64; MAX_BATCH] = {
    let mut counters = [0; MAX_BATCH];
    let mut n = 0;
    while n < MAX_BATCH {
        counters[n] = n as u64;
        n += 1;
    }
    counters
};
const KEY: [u8; 32] = [7; 32];

fn main() {
    let wanted: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let contenders = contenders();
    for (working_set, label, rounds) in [(16 << 10, "hot", 99), (COLD, "32 MiB", 2)] {
        for open in [false, true] {
            println!(
                "\n{}, {label}: ns per packet (GB/s; times as fast as the first)",
                if open { "open" } else { "seal" }
            );
            print!("{:>6}{:>6}", "bytes", "batch");
            contenders.iter().for_each(|contender| print!("{:>24}", contender.name));
            println!();
            for size in SIZES.into_iter().filter(|size| wanted.is_empty() || wanted.contains(size)) {
                for batch in BATCHES {
                    let medians = measure(&contenders, open, size, batch, working_set, rounds);
                    print!("{size:>6}{batch:>6}");
                    for median in &medians {
                        print!("{median:>9.1} ({:>5.2}; {:>4.2})", size as f64 / median, medians[0] / median);
                    }
                    println!();
                }
            }
        }
    }
}

type Work = dyn Fn(&mut [&mut [u8]]);

struct Contender {
    name: &'static str,
    seal: Box<Work>,
    open: Box<Work>,
}

fn contenders() -> Vec<Contender> {
    let mut all = vec![by_one(AEAD_LIBRARY.as_str(), || {
        let key = Aead::new(&SessionKey::new(KEY));
        let twin = Aead::new(&SessionKey::new(KEY));
        (
            move |counter, text: &mut [u8]| key.seal(counter, text),
            move |counter, packet: &mut [u8]| twin.open(counter, packet).is_ok(),
        )
    })];
    for (name, backend) in [("auto", Avx512::detect()), ("auto, no AVX-512", None)] {
        let (key, twin) =
            (PacketKey::with(backend, &SessionKey::new(KEY)), PacketKey::with(backend, &SessionKey::new(KEY)));
        // Made once, as the data plane makes it for all groups that came in one burst.
        let results = RefCell::new([Err(BadTag); aead::MAX_BATCH]);
        all.push(Contender {
            name,
            seal: Box::new(move |packets| key.seal_batch(0, packets)),
            open: Box::new(move |packets| {
                let mut results = results.borrow_mut();
                for (counters, packets) in COUNTERS.chunks(aead::MAX_BATCH).zip(packets.chunks_mut(aead::MAX_BATCH)) {
                    let results = &mut results[..packets.len()];
                    twin.open_batch(&counters[..packets.len()], packets, results);
                    assert!(results.iter().all(Result::is_ok));
                }
            }),
        });
    }
    if let Some(avx512) = Avx512::detect() {
        let (key, twin) = (Key::new(avx512, &KEY), Key::new(avx512, &KEY));
        all.push(Contender {
            name: "AVX-512 always",
            seal: Box::new(move |packets| {
                let share = aead::share(packets.len());
                for (n, packets) in packets.chunks_mut(share).enumerate() {
                    key.seal((n * share) as u64, packets);
                }
            }),
            open: Box::new(move |packets| {
                for (counters, packets) in COUNTERS.chunks(aead::MAX_BATCH).zip(packets.chunks_mut(aead::MAX_BATCH)) {
                    let good = twin.open(&counters[..packets.len()], packets);
                    assert_eq!(good.count_ones() as usize, packets.len());
                }
            }),
        });
    }
    all.push(by_one("ring", || {
        let key = || ring::LessSafeKey::new(ring::UnboundKey::new(&ring::CHACHA20_POLY1305, &KEY).unwrap());
        let nonce = |counter| ring::Nonce::assume_unique_for_key(nonce(counter));
        let (key, twin) = (key(), key());
        (
            move |counter, text: &mut [u8]| {
                let tag = key.seal_in_place_separate_tag(nonce(counter), ring::Aad::empty(), text).unwrap();
                tag.as_ref().try_into().unwrap()
            },
            move |counter, packet: &mut [u8]| twin.open_in_place(nonce(counter), ring::Aad::empty(), packet).is_ok(),
        )
    }));
    all.push(by_one("chacha20poly1305", || {
        let (key, twin) = (ChaCha20Poly1305::new(&KEY.into()), ChaCha20Poly1305::new(&KEY.into()));
        (
            move |counter, text: &mut [u8]| {
                key.encrypt_inout_detached(&nonce(counter).into(), &[], text.into()).unwrap().into()
            },
            move |counter, packet: &mut [u8]| {
                let (text, tag) = packet.split_last_chunk_mut::<TAG_LEN>().unwrap();
                twin.decrypt_inout_detached(&nonce(counter).into(), &[], text.into(), &(*tag).into()).is_ok()
            },
        )
    }));
    all
}

/// A contender that knows single packets.
fn by_one<S, O>(name: &'static str, make: impl Fn() -> (S, O)) -> Contender
where
    S: Fn(u64, &mut [u8]) -> [u8; TAG_LEN] + 'static,
    O: Fn(u64, &mut [u8]) -> bool + 'static,
{
    let (seal, open) = make();
    Contender {
        name,
        seal: Box::new(move |packets| {
            for (counter, packet) in (0..).zip(packets) {
                let (text, tag) = packet.split_last_chunk_mut::<TAG_LEN>().unwrap();
                *tag = seal(counter, text);
            }
        }),
        open: Box::new(move |packets| {
            for (counter, packet) in (0..).zip(packets) {
                assert!(open(counter, packet));
            }
        }),
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// Returns the median nanoseconds per packet of each contender.
fn measure(
    contenders: &[Contender],
    open: bool,
    size: usize,
    batch: usize,
    working_set: usize,
    rounds: usize,
) -> Vec<f64> {
    let packet_len = size + TAG_LEN;
    let batches = (working_set / (batch * packet_len)).max(1);
    let mut pristine = vec![0x5a; batches * batch * packet_len];
    each_batch(&mut pristine.chunks_exact_mut(packet_len).collect::<Vec<_>>(), batch, &*contenders[0].seal);
    let mut bytes = pristine.clone();
    let mut packets: Vec<&mut [u8]> = bytes.chunks_exact_mut(packet_len).collect();
    let mut times = vec![Vec::new(); contenders.len()];
    let slice = (SLICE / (batch * packet_len)).clamp(1, batches) * batch;
    for round in 0..rounds * contenders.len() {
        for (packet, pristine) in packets.iter_mut().zip(pristine.chunks_exact(packet_len)) {
            packet.copy_from_slice(pristine);
        }
        for (turn, packets) in packets.chunks_mut(slice).enumerate() {
            let turn = (round + turn) % contenders.len();
            let contender = &contenders[turn];
            let start = Instant::now();
            each_batch(black_box(packets), batch, if open { &*contender.open } else { &*contender.seal });
            times[turn].push(start.elapsed().as_nanos() as f64 / packets.len() as f64);
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    times.iter().map(|times| times[times.len() / 2]).collect()
}

fn each_batch(packets: &mut [&mut [u8]], batch: usize, work: &Work) {
    packets.chunks_mut(batch).for_each(work);
}
