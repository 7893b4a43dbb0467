//! A workload for counting instructions: bursts of packets through two devices in one thread, without a kernel.
//!
//! ```text
//! replay WHAT BURSTS SEGMENTS
//! ```
//! WHAT is `out` (read, sealed, sent and lost), `both` (also received, opened and written), or the part of either that
//! stands for the kernel: `kernel-out` (the read), `kernel-in` (the wire). SEGMENTS is the number of 1,420-byte packets
//! in a burst. The cost of a packet is the difference of two runs with different BURSTS; `tests/bench/callgrind.py`
//! does the sums.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/replay/pair.rs"]
mod pair;

use std::process::ExitCode;

use pair::{Burst, Pair};
use rvpn::dataplane::packet::{Pool, TunBatch, UdpBatch};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().skip(1).filter_map(|text| text.parse().ok()).collect();
    let (Some(what), &[bursts, segments]) = (arguments.first(), numbers.as_slice()) else {
        eprintln!("usage: replay out|both|kernel-out|kernel-in BURSTS SEGMENTS");
        return ExitCode::FAILURE;
    };
    let mut pair = Pair::new(&Burst::Segmented(segments));
    let mut tun = TunBatch::new();
    let (pool, mut udp) = (Pool::new(32), UdpBatch::new());
    let train = vec![0; segments * MESSAGE_LEN];
    for _ in 0..bursts {
        match what.as_str() {
            "out" => pair.send(false),
            "both" => {
                pair.send(true);
                pair.deliver();
            }
            "kernel-out" => pair.read_only(&mut tun),
            "kernel-in" => {
                udp.refill(&pool);
                pair.cross_only(&train, MESSAGE_LEN, &mut udp);
                pool.put(udp.drain().map(|message| message.buffer));
            }
            _ => {
                eprintln!("replay: what is {what}?");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} {}", features(), pair.delivered().1);
    ExitCode::SUCCESS
}

/// Which instructions the AEAD finds, here and now.
fn features() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "baseline"
}

/// 1,420 bytes and what a transport message adds.
const MESSAGE_LEN: usize = 1_452;
