//! Whether sharing batches with the workers pays: found out by trying, under backlog, while packets flow.
//!
//! A second core helps if it would idle otherwise. If the sender of the packets, their receiver or another tunnel needs
//! it, each hand-over only costs: with both ends of a tunnel on two cores, sharing took 2.0 CPU s/GB instead of 1.75 and
//! a sixth of the throughput (medians of alternating runs). Neither the number of cores nor the load of the machine tells
//! which it is, so under backlog the packet thread carries batches for a moment alone and for a moment shared, twice,
//! keeps what moved more bytes, and asks again later.
//!
//! ```text
//!  backlog ─► alone · shared · alone · shared ─► the better one, for 2, 4, 8 … 32 s ─► alone · shared · …
//!     no backlog for 100 ms ─► forget
//! ```
//!
//! Not here: how a batch is shared (see `queue`).

use std::time::Duration;

use crate::proto::time::Instant;

/// What one packet thread knows about sharing.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    trial: Trial,
    /// When there was backlog last.
    last_backlog: Instant,
    /// How long the next verdict holds.
    confidence: u32,
    /// The last verdict.
    pays: bool,
}

#[derive(Debug, Default)]
enum Trial {
    /// No backlog yet.
    #[default]
    None,
    /// The `phase`-th moment; even ones are alone, odd ones shared.
    Trying { phase: usize, since: Instant, moved: [u64; PHASES] },
    /// The last verdict holds.
    Settled { until: Instant },
}

impl Sharing {
    /// Tells whether the batch of `bytes` that is at hand, with more waiting behind it, is to be shared.
    pub(super) fn decide(&mut self, now: Instant, bytes: usize) -> bool {
        if now.since(self.last_backlog) > FORGET_AFTER {
            *self = Self { trial: Trial::Trying { phase: 0, since: now, moved: [0; PHASES] }, ..Self::default() };
        }
        self.last_backlog = now;
        match &mut self.trial {
            Trial::Settled { until } if now < *until => self.pays,
            Trial::Trying { phase, since, moved } => {
                if now.since(*since) >= MOMENT {
                    *phase += 1;
                    *since = now;
                }
                if let Some(moved) = moved.get_mut(*phase) {
                    *moved += bytes as u64;
                    return *phase % 2 == 1;
                }
                let [alone, shared] = [moved[0] + moved[2], moved[1] + moved[3]];
                self.settle(now, shared > alone + alone / 16)
            }
            Trial::None | Trial::Settled { .. } => {
                self.trial = Trial::Trying { phase: 0, since: now, moved: [0; PHASES] };
                false
            }
        }
    }

    fn settle(&mut self, now: Instant, pays: bool) -> bool {
        self.confidence = if pays == self.pays { (self.confidence + 1).min(MOST_CONFIDENCE) } else { 0 };
        self.pays = pays;
        self.trial = Trial::Settled { until: now.plus(LEAST_VALIDITY * (1 << self.confidence)) };
        pays
    }
}

/// Long against a round trip, short against a person's patience.
const MOMENT: Duration = Duration::from_millis(20);
const PHASES: usize = 4;
const FORGET_AFTER: Duration = Duration::from_millis(100);
const LEAST_VALIDITY: Duration = Duration::from_secs(2);
/// 2 s << 4 = 32 s.
const MOST_CONFIDENCE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of 1 ms, `alone` or `shared` bytes each; returns how many of `batches` were shared.
    fn drive(sharing: &mut Sharing, now: &mut Instant, batches: usize, alone: usize, shared: usize) -> usize {
        let mut last = false;
        let mut count = 0;
        for _ in 0..batches {
            *now = now.plus(Duration::from_millis(1));
            // What is at hand was moved the way the last decision said.
            last = sharing.decide(*now, if last { shared } else { alone });
            count += usize::from(last);
        }
        count
    }

    fn start() -> (Sharing, Instant) {
        (Sharing::default(), Instant::from_nanos(1_000_000_000_000))
    }

    #[test]
    fn sharing_that_moves_more_is_kept() {
        let (mut sharing, mut now) = start();
        drive(&mut sharing, &mut now, 100, 100, 150);
        assert!(drive(&mut sharing, &mut now, 1000, 100, 150) >= 1000);
    }

    #[test]
    fn sharing_that_moves_no_more_is_dropped() {
        let (mut sharing, mut now) = start();
        let tried = drive(&mut sharing, &mut now, 100, 100, 100);
        assert!((30..=50).contains(&tried), "{tried}");
        assert_eq!(drive(&mut sharing, &mut now, 1000, 100, 100), 0);
    }

    #[test]
    fn the_question_is_asked_again_but_less_and_less_often() {
        let (mut sharing, mut now) = start();
        let shares: Vec<usize> = (0..10).map(|_| drive(&mut sharing, &mut now, 10_000, 100, 100)).collect();
        assert!(shares[0] > shares[9], "{shares:?}");
        assert!(shares.iter().sum::<usize>() > shares[0], "{shares:?}");
        // The other cores fall idle.
        drive(&mut sharing, &mut now, 40_000, 100, 200);
        assert!(drive(&mut sharing, &mut now, 1000, 100, 200) > 900);
    }

    #[test]
    fn an_idle_tunnel_forgets() {
        let (mut sharing, mut now) = start();
        drive(&mut sharing, &mut now, 1000, 100, 150);
        now = now.plus(Duration::from_millis(101));
        assert!(!sharing.decide(now, 100), "alone again at first");
    }

    #[test]
    fn a_clock_that_goes_back_does_not_end_the_trial_for_good() {
        let (mut sharing, mut now) = start();
        drive(&mut sharing, &mut now, 1000, 100, 150);
        let mut earlier = Instant::from_nanos(5);
        drive(&mut sharing, &mut earlier, 10, 100, 150);
        drive(&mut sharing, &mut now, 1000, 100, 150);
    }
}
