//! Telling local senders that no peer will carry their packet, within a budget.
//!
//! Not here: the message itself and when none may be sent (see `proto::icmp`).

use std::io::IoSlice;
use std::time::Duration;

use super::io::Tun;
use super::offload::Offload;
use super::sync::{Mutex, lock};
use crate::proto::icmp;
use crate::proto::time::Instant;

/// The device's budget of ICMP messages: ten per second, bursts of fifty, as the kernel's default is per host.
pub(super) struct Unreachable {
    budget: Mutex<Budget>,
}

struct Budget {
    credit: Duration,
    last: Instant,
}

impl Unreachable {
    pub(super) fn new() -> Self {
        Self { budget: Mutex::new(Budget { credit: BURST, last: Instant::default() }) }
    }

    /// Writes "unreachable" about `packet` to the TUN, if one may be sent and the budget allows it. A failure to
    /// write is no loss: the packet is gone either way.
    pub(super) fn report(&self, tun: &dyn Tun, now: Instant, packet: &[u8]) {
        let mut message = [0; icmp::MAX_LEN];
        let Some(len) = icmp::unreachable(packet, &mut message) else { return };
        if self.allow(now) {
            let _ = tun.write(Offload::default(), &[IoSlice::new(&message[..len])]);
        }
    }

    fn allow(&self, now: Instant) -> bool {
        let mut budget = lock(&self.budget);
        budget.credit = BURST.min(budget.credit + now.since(budget.last));
        budget.last = now.max(budget.last);
        let allowed = budget.credit >= COST;
        if allowed {
            budget.credit -= COST;
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
        let unreachable = Unreachable::new();
        let start = Instant::from_nanos(1_000_000_000_000);
        assert_eq!((0..100).filter(|_| unreachable.allow(start)).count(), 50);
        let later = start.plus(Duration::from_secs(1));
        assert_eq!((0..100).filter(|_| unreachable.allow(later)).count(), 10);
        assert!(!unreachable.allow(start), "a clock that goes back gives nothing");
    }
}
