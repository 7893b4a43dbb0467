//! Token buckets per source address, consulted under load only, and only for messages with a valid mac2: a cookie
//! proves the address, the bucket bounds the Diffie-Hellman computations one address can cause.
//!
//! Not here: when the device is under load (see the handshake workers), the cookie (see `cookie`).
//!
//! Source: whitepaper section 5.3; the figures and the bound of the table are the kernel's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::time::Instant;

/// 20 handshakes per second and source, burst 5; at most 65,536 sources.
///
/// A source is an IPv4 address, or the upper 64 bits of an IPv6 address: a single host commonly has all of a /64.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: HashMap<Source, Bucket>,
    collected: Instant,
}

impl RateLimiter {
    /// Makes a limiter that has seen nobody.
    pub fn new() -> Self {
        Self { buckets: HashMap::new(), collected: Instant::default() }
    }

    /// Takes a token of `source`; false if it has none left, or if the table is full of others.
    /// Collects garbage itself, at most once a second.
    ///
    /// A refusal counts as seen too, so a source that never stops is not forgotten and given a fresh burst.
    pub fn allow(&mut self, now: Instant, source: IpAddr) -> bool {
        self.collect_garbage(now);
        let source = Source::from(source);
        if let Some(bucket) = self.buckets.get_mut(&source) {
            return bucket.take_token(now);
        }
        if self.buckets.len() >= MAX_SOURCES {
            return false;
        }
        self.buckets.insert(source, Bucket { credit: MAX_CREDIT - TOKEN, seen: now });
        true
    }

    /// Forgets sources that were silent for more than a second: their buckets are full again, which is how an unknown
    /// source starts.
    fn collect_garbage(&mut self, now: Instant) {
        if now.since(self.collected) < GARBAGE_INTERVAL {
            return;
        }
        self.collected = now;
        self.buckets.retain(|_, bucket| now.since(bucket.seen) <= GARBAGE_INTERVAL);
        // A flood leaves a table of megabytes behind; once it is over they go back.
        if self.buckets.len() < self.buckets.capacity() / 8 {
            self.buckets.shrink_to_fit();
        }
    }
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> (Ipv6Addr::BITS / 2)) as u64),
        }
    }
}

/// Time is the currency: a token costs the time in which it grows back.
#[derive(Debug)]
struct Bucket {
    credit: Duration,
    seen: Instant,
}

impl Bucket {
    fn take_token(&mut self, now: Instant) -> bool {
        let credit = MAX_CREDIT.min(self.credit.saturating_add(now.since(self.seen)));
        self.seen = self.seen.max(now);
        let left = credit.checked_sub(TOKEN);
        self.credit = left.unwrap_or(credit);
        left.is_some()
    }
}

const TOKEN: Duration = Duration::from_millis(50);
const MAX_CREDIT: Duration = Duration::from_millis(250);
const GARBAGE_INTERVAL: Duration = Duration::from_secs(1);
const MAX_SOURCES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(10_000_000_000 + nanos)
    }

    fn millis(millis: u64) -> Instant {
        at(millis * 1_000_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn five_at_once_then_one_per_fifty_milliseconds() {
        let mut limiter = RateLimiter::new();
        for (time, expected) in
            [(0, 5), (50, 1), (150, 2), (10_000, 5)].map(|(time, expected)| (millis(time), expected))
        {
            let allowed = (0..expected + 1).filter(|_| limiter.allow(time, V4)).count();
            assert_eq!(allowed, expected, "at {time:?}");
        }
    }

    #[test]
    fn a_token_grows_back_after_fifty_milliseconds_to_the_nanosecond() {
        let mut limiter = RateLimiter::new();
        assert!((0..5).all(|_| limiter.allow(at(0), V4)));
        assert!(!limiter.allow(at(49_999_999), V4));
        assert!(limiter.allow(at(50_000_000), V4));
        assert!(!limiter.allow(at(50_000_000), V4));
    }

    /// The definition: between any grant and now there were at most five, and one more for each 50 ms since.
    fn may_be_granted(grants: &[u64], now: u64) -> bool {
        (0..=grants.len()).all(|first| {
            let count = (grants.len() - first + 1) as u64;
            let since = grants.get(first).map_or(0, |first| now - first);
            count <= 5 + since / 50
        })
    }

    #[test]
    fn every_short_history_is_granted_by_the_definition() {
        const PAUSES: [u64; 7] = [0, 1, 49, 50, 120, 251, 1_001];
        const LEN: u32 = 7;
        for number in 0..PAUSES.len().pow(LEN) {
            let (mut limiter, mut now, mut grants, mut rest) = (RateLimiter::new(), 0, Vec::new(), number);
            for _ in 0..LEN {
                now += PAUSES[rest % PAUSES.len()];
                rest /= PAUSES.len();
                let expected = may_be_granted(&grants, now);
                assert_eq!(limiter.allow(millis(now), V4), expected, "at {now} ms after grants at {grants:?}");
                if expected {
                    grants.push(now);
                }
            }
        }
    }

    #[test]
    fn an_ipv6_source_is_its_upper_half_and_a_mapped_address_is_ipv4() {
        let mut limiter = RateLimiter::new();
        assert!((0..5).all(|_| limiter.allow(at(0), address("2001:db8:1:2::1"))));
        assert!(!limiter.allow(at(0), address("2001:db8:1:2:ffff::9")));
        assert!(limiter.allow(at(0), address("2001:db8:1:3::1")));
        assert!((0..5).all(|_| limiter.allow(at(0), V4)));
        assert!(!limiter.allow(at(0), address("::ffff:192.0.2.7")));
    }

    #[test]
    fn a_full_table_refuses_new_sources_until_others_were_silent() {
        let mut limiter = RateLimiter::new();
        for n in 0..65_536 {
            assert!(limiter.allow(millis(0), IpAddr::V4(std::net::Ipv4Addr::from_bits(n))));
        }
        assert!(!limiter.allow(millis(0), V4));
        assert!(limiter.allow(millis(0), address("0.0.0.1")), "known sources go on");
        assert!(!limiter.allow(millis(1000), V4), "idle for exactly a second is not idle for more");
        assert!(limiter.allow(millis(2000), V4));
        assert_eq!(limiter.buckets.len(), 1);
        assert!(limiter.buckets.capacity() < 100);
    }

    #[test]
    fn a_source_that_never_stops_is_not_forgotten() {
        let mut limiter = RateLimiter::new();
        let allowed = (0..3000).filter(|n| limiter.allow(millis(*n), V4)).count();
        assert_eq!(allowed, 4 + 60, "the burst, and 20 a second");
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_credit() {
        let mut limiter = RateLimiter::new();
        assert!((0..5).all(|_| limiter.allow(millis(500), V4)));
        assert!(!limiter.allow(millis(0), V4));
        assert!(!limiter.allow(millis(500), V4));
    }
}
