//! Points in time as the protocol sees them: numbers handed in by the caller.
//!
//! [`Instant`] counts nanoseconds of CLOCK_BOOTTIME, which goes on during suspend: a key is dead after 180 s also if the
//! machine slept through all of them. [`WallTime`] is the calendar, used for the handshake
//! timestamp and for "latest handshake" only. Nothing here reads a clock.
//!
//! All arithmetic saturates: a clock that jumps in either direction never panics (protocol invariant 13).

use std::time::Duration;

/// A point on the boot-time clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Makes the point `nanos` nanoseconds after boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the point `after` later, at most the end of time.
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(after)))
    }

    /// Returns the point `before` earlier, at least boot.
    pub fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(before)))
    }
}

/// Calendar time since the UNIX epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: u64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_sums_saturate() {
        let early = Instant::from_nanos(5);
        let late = Instant::from_nanos(7);
        assert_eq!(late.since(early), Duration::from_nanos(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.minus(Duration::from_secs(1)), Instant::from_nanos(0));
        assert_eq!(early.minus(Duration::MAX), Instant::from_nanos(0));
        assert_eq!(early.plus(Duration::MAX), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::from_nanos(u64::MAX).plus(Duration::from_nanos(1)), Instant::from_nanos(u64::MAX));
    }
}
