//! What segmentation, coalescing and checksums cost per packet of 1,420 bytes, beside copying it.
//!
//! `cargo bench --bench offload`.

// A bench reads the clock itself.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use rvpn::dataplane::checksum::Sum;
use rvpn::dataplane::gro::{Classes, Coalescer, MAX_HEADER_LEN};
use rvpn::dataplane::gso::Segments;
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};

fn main() {
    let packet = large_packet();
    let checksum = Some(PartialChecksum { start: 20, offset: 16 });
    let segmentation = Some(Segmentation::Tcp4);
    let offload = Offload { segmentation, segment_len: SEGMENT_LEN as u16, header_len: HEADER_LEN as u16, checksum };
    let segments = Segments::new(&packet, offload).unwrap();
    let mut out = [0; HEADER_LEN + SEGMENT_LEN];
    println!("ns per packet of {} bytes, median of {ROUNDS}", out.len());

    let copy = time(|| {
        for part in packet[HEADER_LEN..].chunks(SEGMENT_LEN) {
            out[..part.len()].copy_from_slice(black_box(part));
            black_box(&out);
        }
    });
    println!("copy               {:>7.1}", copy / COUNT as f64);

    let sum = time(|| {
        for part in packet[HEADER_LEN..].chunks(SEGMENT_LEN) {
            black_box(Sum::of(black_box(part)).checksum());
        }
    });
    println!("checksum           {:>7.1}   {:.1} GB/s", sum / COUNT as f64, (COUNT * SEGMENT_LEN) as f64 / sum);

    let write = time(|| {
        let segments = Segments::new(black_box(&packet), black_box(offload)).unwrap();
        for n in 0..segments.count() {
            segments.write(n, &mut out);
            black_box(&out);
        }
    });
    println!("segment            {:>7.1}", write / COUNT as f64);

    let packets: Vec<_> = (0..segments.count())
        .map(|n| {
            let mut packet = vec![0; segments.len(n)];
            segments.write(n, &mut packet);
            packet
        })
        .collect();
    let mut coalescer = Coalescer::default();
    let classes = Classes { tcp4: true, tcp6: true, udp4: true, udp6: true };
    let coalesce = time(|| {
        coalescer.coalesce(packets.len(), |n| &packets[n], classes);
        for group in coalescer.groups() {
            let mut header = [0; MAX_HEADER_LEN];
            black_box(group.write_header(&packets[0], &packets[packets.len() - 1], &mut header));
        }
    });
    assert_eq!(coalescer.groups().len(), 1, "all are one packet again");
    println!("coalesce, verified {:>7.1}", coalesce / COUNT as f64);
}

const ROUNDS: usize = 15;
const HEADER_LEN: usize = 40;
const SEGMENT_LEN: usize = 1_380;
const COUNT: usize = 47;

/// Nanoseconds per call.
fn time(mut work: impl FnMut()) -> f64 {
    const CALLS: u32 = 2_000;
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// TCP over IPv4, as the TUN gives it.
fn large_packet() -> Vec<u8> {
    let len = HEADER_LEN + COUNT * SEGMENT_LEN;
    let mut packet = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0x9c, 1, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    packet.extend((0..COUNT * SEGMENT_LEN).map(|n| (n * 7 + n / 13) as u8));
    packet
}
