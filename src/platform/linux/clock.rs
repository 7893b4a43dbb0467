//! The clocks of the machine.
//!
//! Not here: when they are read (once per batch, by the data plane).
//!
//! Source: clock_gettime(2). CLOCK_BOOTTIME and not CLOCK_MONOTONIC, because the latter stands still during suspend
//! and would let keys live longer than 180 s.

use std::time::Duration;

use super::sys;
use crate::dataplane::io::Clock;
use crate::proto::time::{Instant, WallTime};

/// CLOCK_BOOTTIME and CLOCK_REALTIME.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxClock;

impl Clock for LinuxClock {
    fn now(&self) -> Instant {
        let (secs, nanos) = sys::boot_time();
        Instant::from_nanos(0).plus(Duration::new(secs, nanos))
    }

    fn wall(&self) -> WallTime {
        let (secs, nanos) = sys::real_time();
        WallTime { secs, nanos }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_does_not_go_back() {
        let first = LinuxClock.now();
        assert!(first > Instant::default());
        assert!(LinuxClock.now() >= first);
    }

    #[test]
    fn wall_time_is_that_of_this_century() {
        let wall = LinuxClock.wall();
        assert!(wall.secs > 1_577_836_800);
        assert!(wall.nanos < 1_000_000_000);
    }
}
