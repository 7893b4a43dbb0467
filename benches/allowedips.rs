//! Nanoseconds per lookup in the table of allowed IPs, beside `ip_network_table` in the same run.
//!
//! Half of the prefixes are hosts (/32, /128), the others networks (/24 and /16-23, or /64 and /48-55). 15 of 16
//! lookups hit. `cargo bench --bench allowedips`.

// A bench reads the clock itself.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;
use rvpn::proto::allowedips::{AllowedIps, Prefix};

fn main() {
    println!("ns per lookup, median of {ROUNDS}       rvpn   ip_network_table   ratio");
    for v4 in [true, false] {
        for count in [10, 1_000, 100_000] {
            compare(v4, count);
        }
    }
}

const ROUNDS: usize = 15;
const LOOKUPS: usize = 20_000;

fn compare(v4: bool, count: usize) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let prefixes: Vec<_> = (0..count).map(|n| prefix(&mut random, v4, n)).collect();
    let mut table = AllowedIps::new();
    let mut twin = IpNetworkTable::new();
    for (owner, prefix) in prefixes.iter().enumerate() {
        table.insert(*prefix, owner as u32);
        twin.insert(IpNetwork::new(prefix.address(), prefix.len()).unwrap(), owner as u32);
    }
    let addresses: Vec<_> = (0..LOOKUPS)
        .map(|n| {
            let inside = prefixes[random.next() as usize % count];
            if n % 16 == 0 { address(&mut random, v4) } else { within(&mut random, inside) }
        })
        .collect();
    // One after the other, not in turns: each would find its table thrown out of the cache by the other.
    let ours: Vec<_> = (0..ROUNDS).map(|_| time(&addresses, |address| table.lookup(address))).collect();
    let theirs: Vec<_> =
        (0..ROUNDS).map(|_| time(&addresses, |address| twin.longest_match(address).map(|(_, owner)| *owner))).collect();
    assert_eq!(ours[0].1, theirs[0].1, "both give the same answers");
    let (ours, theirs) = (median(ours), median(theirs));
    let family = if v4 { "IPv4" } else { "IPv6" };
    println!("{family} {count:>7} prefixes        {ours:>8.1} {theirs:>18.1} {:>7.1}", theirs / ours);

    // A peer of ten prefixes leaves and comes back.
    let owned: Vec<_> =
        (0..10).map(|n| n * count / 10).map(|n| (prefixes[n], table.lookup(prefixes[n].address()))).collect();
    let start = Instant::now();
    for _ in 0..LOOKUPS / 10 {
        for (prefix, owner) in &owned {
            black_box(table.remove(*prefix, owner.unwrap()));
        }
        for (prefix, owner) in &owned {
            table.insert(*prefix, owner.unwrap());
        }
    }
    println!("     remove and insert again {:>6.1}", start.elapsed().as_nanos() as f64 / LOOKUPS as f64);
}

/// Nanoseconds per lookup, and a sum of the answers.
fn time(addresses: &[IpAddr], lookup: impl Fn(IpAddr) -> Option<u32>) -> (f64, u64) {
    let start = Instant::now();
    let sum = addresses.iter().map(|address| u64::from(lookup(black_box(*address)).unwrap_or(1 << 31))).sum();
    (start.elapsed().as_nanos() as f64 / addresses.len() as f64, black_box(sum))
}

fn median(mut rounds: Vec<(f64, u64)>) -> f64 {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2].0
}

fn prefix(random: &mut Random, v4: bool, n: usize) -> Prefix {
    let spread = (random.next() % 8) as u8;
    let len = match (v4, n % 4) {
        (true, 0 | 2) => 32,
        (true, 1) => 24,
        (true, _) => 16 + spread,
        (false, 0 | 2) => 128,
        (false, 1) => 64,
        (false, _) => 48 + spread,
    };
    Prefix::new(address(random, v4), len).unwrap()
}

fn address(random: &mut Random, v4: bool) -> IpAddr {
    if v4 {
        IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32))
    } else {
        let low = u128::from(random.next());
        // 2000::/3, as in the wide world.
        IpAddr::V6(Ipv6Addr::from_bits(0x2 << 124 | u128::from(random.next() >> 3) << 64 | low))
    }
}

fn within(random: &mut Random, prefix: Prefix) -> IpAddr {
    match (prefix.address(), address(random, prefix.address().is_ipv4())) {
        (IpAddr::V4(net), IpAddr::V4(host)) => {
            let hosts = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(net.to_bits() | host.to_bits() & hosts))
        }
        (IpAddr::V6(net), IpAddr::V6(host)) => {
            let hosts = u128::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(net.to_bits() | host.to_bits() & hosts))
        }
        (net, _) => net,
    }
}

/// Xorshift: the same prefixes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
