//! A token bucket for what must not happen without bound: ICMP messages, and log lines that the network can cause.
//!
//! Not here: the limit on handshakes per source (see `proto::ratelimiter`).

use std::time::Duration;

use crate::proto::time::Instant;

/// Ten per second, bursts of fifty.
#[derive(Debug)]
pub(super) struct Budget {
    credit: Duration,
    last: Instant,
}

impl Budget {
    /// Makes a budget that is full.
    pub(super) const fn new() -> Self {
        Self { credit: BURST, last: Instant::from_nanos(0) }
    }

    /// Takes one, if there is one left. A clock that goes back gives nothing.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        self.credit = BURST.min(self.credit + now.since(self.last));
        self.last = now.max(self.last);
        let allowed = self.credit >= COST;
        if allowed {
            self.credit -= COST;
        }
        allowed
    }
}

const COST: Duration = Duration::from_millis(100);
const BURST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_at_once_then_ten_per_second() {
        let mut budget = Budget::new();
        let start = Instant::from_nanos(1_000_000_000_000);
        assert_eq!((0..100).filter(|_| budget.allow(start)).count(), 50);
        let later = start.plus(Duration::from_secs(1));
        assert_eq!((0..100).filter(|_| budget.allow(later)).count(), 10);
        assert!(!budget.allow(start), "a clock that goes back gives nothing");
    }
}
