//! Limits on what a peer may send and be sent, in bits a second of the packets inside the tunnel.
//!
//! A token bucket for each direction, told as a time: a packet is let through as long as the ones before it would, at the
//! limited rate, be through within [`DEPTH`] from now. So a packet of any length can pass, and what it owes delays those
//! after it: the rate is exact in the long run, and a burst is at most the depth and one packet too long.
//!
//! A peer without limits has none of this: one look per batch tells.
//!
//! Not here: queueing. What is over the limit is dropped and counted, which makes TCP slow down.

use std::time::Duration;

use crate::proto::time::Instant;

/// The limits of a peer, as its user sees them: up is from the peer to us.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) up: Option<Bucket>,
    pub(super) down: Option<Bucket>,
}

/// The limit of one direction.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bits a second; not zero.
    rate: u64,
    /// When all that was let through would have passed at this rate.
    through: Instant,
}

impl Bucket {
    /// Makes a full bucket for `rate` bits a second; `None` for zero, which is no limit.
    pub(super) fn new(now: Instant, rate: u64) -> Option<Self> {
        (rate > 0).then_some(Self { rate, through: now })
    }

    /// Returns the bits a second.
    pub(super) const fn rate(&self) -> u64 {
        self.rate
    }

    /// Looks at the clock once for a batch of packets, each of which is then offered to the result.
    pub(super) fn at(&mut self, now: Instant) -> impl FnMut(usize) -> bool {
        self.through = self.through.max(now);
        let latest = now.plus(DEPTH);
        move |len| {
            let passes = self.through < latest;
            if passes {
                let nanos = len as u128 * u128::from(BITS * NANOS) / u128::from(self.rate);
                self.through = self.through.plus(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
            }
            passes
        }
    }
}

impl Limits {
    /// Sets what is named; the buckets of a rate that stays keep what they hold.
    pub(super) fn set(&mut self, now: Instant, up: Option<u64>, down: Option<u64>) {
        for (bucket, rate) in [(&mut self.up, up), (&mut self.down, down)] {
            if let Some(rate) = rate
                && bucket.as_ref().map_or(0, Bucket::rate) != rate
            {
                *bucket = Bucket::new(now, rate);
            }
        }
    }

    /// Tells whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.up.is_none() && self.down.is_none()
    }
}

/// How much may come at once. TCP that lost the last packets of a burst is silent for 200 ms; a bucket that holds less than
/// that loses what it missed: with 100 ms, one stream at 20 Mbit/s over a short way had 15.
const DEPTH: Duration = Duration::from_millis(250);
const BITS: u64 = 8;
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// Offers packets of `len` bytes at `times` its rate for `seconds`, in batches of a millisecond; returns the bits a
    /// second that pass.
    fn passed(rate: u64, len: usize, times: u64, seconds: u64) -> u64 {
        let mut bucket = Bucket::new(at(0), rate).expect("a rate");
        let (mut offered, mut bytes) = (0, 0);
        for millis in 0..seconds * 1000 {
            let mut admit = bucket.at(at(millis));
            while offered < rate * times * millis / 8000 {
                offered += len as u64;
                bytes += if admit(len) { len as u64 } else { 0 };
            }
        }
        bytes * 8 / seconds
    }

    #[test]
    fn the_rate_is_held_whatever_the_packets_are() {
        for rate in [1_000_000, 64_000_000, 3_000_000_000] {
            for len in [60, 1420, 65_000] {
                let (passed, burst) = (passed(rate, len, 3, 10), rate / 4 + len as u64 * 8);
                assert!(passed >= rate && passed <= rate + burst / 10, "{rate}, packets of {len} bytes: {passed}");
            }
        }
    }

    #[test]
    fn what_stays_below_the_rate_passes_whole() {
        let (rate, len) = (8_000_000, 1000);
        let mut bucket = Bucket::new(at(0), rate).expect("a rate");
        assert!((0..10_000).all(|millis| bucket.at(at(millis))(len)));
    }

    #[test]
    fn rest_is_not_saved_up_beyond_the_depth() {
        let mut bucket = Bucket::new(at(0), 8_000_000).expect("a rate");
        let mut admit = bucket.at(at(3_600_000));
        assert_eq!((0..1000).filter(|_| admit(1000)).count(), 250, "250 ms at a packet a millisecond");
    }

    #[test]
    fn a_clock_that_goes_back_lets_nothing_extra_through() {
        let mut bucket = Bucket::new(at(0), 8_000_000).expect("a rate");
        {
            let mut admit = bucket.at(at(1000));
            assert!(!(0..1000).all(|_| admit(1000)));
        }
        assert!(!bucket.at(at(500))(1));
    }

    #[test]
    fn zero_is_no_limit_and_the_same_rate_no_change() {
        let mut limits = Limits::default();
        limits.set(at(0), Some(8_000), Some(0));
        assert!(limits.down.is_none() && !limits.is_empty());
        let admitted = limits.up.as_mut().is_some_and(|bucket| bucket.at(at(0))(1_000_000));
        limits.set(at(0), Some(8_000), None);
        assert!(admitted && limits.up.as_mut().is_some_and(|bucket| !bucket.at(at(0))(1)));
        limits.set(at(0), Some(0), None);
        assert!(limits.is_empty());
    }

    #[test]
    fn no_figures_overflow() {
        for rate in [1, u64::MAX] {
            let mut bucket = Bucket::new(Instant::from_nanos(u64::MAX - 1), rate).expect("a rate");
            let mut admit = bucket.at(Instant::from_nanos(u64::MAX));
            admit(usize::MAX);
        }
    }
}
