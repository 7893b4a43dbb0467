//! Rates: differences of counters over time, and as many of them as a wide terminal shows.

use std::collections::VecDeque;

use crate::proto::time::Instant;

/// What is remembered of a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    last: Option<(Instant, [u64; 3])>,
    /// Bytes per second received, newest last.
    pub(super) received: VecDeque<u64>,
    /// Bytes per second sent, newest last.
    pub(super) sent: VecDeque<u64>,
    /// Packets dropped between two looks, newest last; as long as it was known.
    lost: VecDeque<u64>,
}

impl History {
    /// Takes counters at `at`: bytes received and sent, and packets dropped if that is known. Counters that went back
    /// begin anew: the peer or the daemon did.
    pub(super) fn take(&mut self, at: Instant, rx_bytes: u64, tx_bytes: u64, dropped: Option<u64>) {
        let counters = [rx_bytes, tx_bytes, dropped.unwrap_or_default()];
        let Some((before, last)) = self.last.replace((at, counters)) else { return };
        let seconds = at.since(before).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let [received, sent, lost] = [0, 1, 2].map(|n| counters[n].saturating_sub(last[n]));
        push(&mut self.received, (received as f64 / seconds) as u64);
        push(&mut self.sent, (sent as f64 / seconds) as u64);
        match dropped {
            Some(_) => push(&mut self.lost, lost),
            None => self.lost.clear(),
        }
    }

    /// Returns the newest rates, received and sent, in bytes per second.
    pub(super) fn now(&self) -> (u64, u64) {
        let newest = |rates: &VecDeque<u64>| rates.back().copied().unwrap_or_default();
        (newest(&self.received), newest(&self.sent))
    }

    /// Returns how many packets were dropped within the last 60 looks; `None` if nobody tells.
    pub(super) fn lost(&self) -> Option<u64> {
        (!self.lost.is_empty()).then(|| self.lost.iter().rev().take(60).sum())
    }
}

fn push(rates: &mut VecDeque<u64>, rate: u64) {
    if rates.len() == LONGEST {
        rates.pop_front();
    }
    rates.push_back(rate);
}

/// More than half the columns of any terminal.
const LONGEST: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_rate_is_a_difference_over_the_time_it_took() {
        let mut history = History::default();
        history.take(at(1), 1_000, 10, Some(4));
        assert_eq!((history.now(), history.lost()), ((0, 0), None), "one look has no difference");
        history.take(at(3), 5_000, 10, Some(7));
        assert_eq!((history.now(), history.lost()), ((2_000, 0), Some(3)));
        history.take(at(3), 9_000, 10, Some(7));
        assert_eq!(history.received.len(), 1, "no time, no rate");
    }

    #[test]
    fn counters_that_go_back_are_no_rate() {
        let mut history = History::default();
        history.take(at(1), 1_000, 1_000, None);
        history.take(at(2), 10, 3_000, None);
        assert_eq!((history.now(), history.lost()), ((0, 2_000), None));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut history = History::default();
        (0..1_000).for_each(|n| history.take(at(n), n, n, Some(n)));
        assert_eq!((history.received.len(), history.lost()), (LONGEST, Some(60)));
    }
}
