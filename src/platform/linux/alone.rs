//! Whether what waits to be read is expected to be alone, so that a read need not ask for another behind it.
//!
//! An idle tunnel wakes for each packet. To find that nothing is behind it costs a system call before the packet goes on:
//! at the TUN 0.8 µs, at a socket half as much and the places for fifteen more datagrams, together 3 µs of the 80 that a
//! ping takes through two daemons. So after one small packet came alone the next reads take one each, and leave it to the
//! poller, which is asked in any case, to tell of more. A few reads later the question is asked again, so that a burst is
//! read packet by packet for so long at most.
//!
//! A long packet is no sign of an idle tunnel: one may be all that TCP has sent so far.
//!
//! Not here: the reads (see `tun`, `udp`).

use std::sync::atomic::{AtomicU32, Ordering};

/// What the last reads of one descriptor found.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// How many more reads take one packet only. Relaxed everywhere: a count lost between two threads costs a question.
    left: AtomicU32,
}

impl Alone {
    /// Tells whether a read takes one packet only.
    pub(super) fn is_expected(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Takes note of a read that asked for one packet, or for all that waited, and found `count` of `len` bytes in all.
    pub(super) fn found(&self, count: usize, len: usize) {
        let left = match self.left.load(Ordering::Relaxed) {
            _ if count != 1 || len > SMALL => 0,
            0 => READS,
            left => left - 1,
        };
        self.left.store(left, Ordering::Relaxed);
    }
}

/// Reads of one packet each after one was seen alone. The eighth part of a question is hard to measure.
const READS: u32 = 8;

/// Bytes: calls, games, remote shells and acknowledgements are shorter.
const SMALL: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_small_packet_alone_lets_others_be_expected_alone_for_a_few_reads() {
        let alone = Alone::default();
        assert!(!alone.is_expected());
        for _ in 0..3 {
            alone.found(1, SMALL);
            for _ in 0..READS {
                assert!(alone.is_expected());
                alone.found(1, 100);
            }
            assert!(!alone.is_expected(), "the question is asked again");
        }
    }

    #[test]
    fn a_burst_a_long_packet_or_none_ends_it_at_once() {
        for (count, len) in [(2, 200), (1, SMALL + 1), (0, 0)] {
            let alone = Alone::default();
            alone.found(1, 100);
            assert!(alone.is_expected());
            alone.found(count, len);
            assert!(!alone.is_expected(), "{count} of {len} bytes");
        }
    }
}
