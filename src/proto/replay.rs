//! The anti-replay window of RFC 6479: a counter is accepted once, also if packets arrive out of order.
//!
//! A bitmap of 8192 bits used as a ring of 64-bit words. Moving forward clears whole words and shifts nothing, at the
//! price of one word: 8128 counters behind the highest are certain to be in the ring. As wide as the kernel's, because
//! multi-queue links reorder by hundreds of packets.
//!
//! Not here: whether a packet is authentic, which must be known before (see `transport`).

use super::carried::{Carried, Malformed, Reader, Writer};
use super::constants::REJECT_AFTER_MESSAGES;

/// 8192 bits, of which 8128 are effective, behind the highest accepted counter.
pub type ReplayWindow = Window<128>;

/// A window of so many 64-bit words: one is of no use, the others are effective.
///
/// The bitmap is boxed: a window lives in each keypair slot of each peer, and an empty slot shall cost 16 bytes.
#[derive(Debug)]
pub struct Window<const WORDS: usize> {
    /// One more than the highest accepted counter; 0 if none was. The limit on counters keeps it from wrapping.
    next: u64,
    /// The bit of counter `c` is bit `c % 64` of word `c / 64 % WORDS`.
    ring: Box<[u64; WORDS]>,
}

impl<const WORDS: usize> Window<WORDS> {
    /// Counters behind the highest that are certain to be in the ring, wherever in its word the highest is.
    const BEHIND: u64 = (WORDS as u64 - 1) * WORD_BITS;

    /// Makes an empty window.
    pub fn new() -> Self {
        Self { next: 0, ring: Box::new([0; WORDS]) }
    }

    /// Accepts `counter` at most once. Call only for authentic packets, in arrival order.
    ///
    /// Refused are counters seen before, counters more than 64 x (`WORDS` - 1) behind the highest accepted one, and those from
    /// [`REJECT_AFTER_MESSAGES`] on, which do not move the window either. The usual counter, one above the highest, is
    /// a compare, a test and a store, and every 64th time clears a word.
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        let highest = self.next.saturating_sub(1);
        let word = counter / WORD_BITS;
        if counter > highest {
            let newest = highest / WORD_BITS;
            for stale in newest + 1..=word.min(newest + WORDS as u64) {
                self.ring[Self::slot(stale)] = 0;
            }
            self.next = counter + 1;
        } else if highest - counter > Self::BEHIND {
            return false;
        } else if self.next == 0 {
            self.next = 1;
        }
        let bit = 1 << (counter % WORD_BITS);
        let seen = &mut self.ring[Self::slot(word)];
        let fresh = *seen & bit == 0;
        *seen |= bit;
        fresh
    }

    fn slot(word: u64) -> usize {
        (word % WORDS as u64) as usize
    }
}

/// The next counter, then the ring.
impl<const WORDS: usize> Carried for Window<WORDS> {
    fn write(&self, out: &mut Writer) {
        self.next.write(out);
        self.ring.iter().for_each(|word| word.write(out));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut window = Self { next: u64::read(input)?, ..Self::new() };
        for word in window.ring.iter_mut() {
            *word = u64::read(input)?;
        }
        if window.next <= REJECT_AFTER_MESSAGES { Ok(window) } else { Err(Malformed) }
    }
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

const WORD_BITS: u64 = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = REJECT_AFTER_MESSAGES;

    fn assert_sequence(sequence: impl IntoIterator<Item = (u64, bool)>) {
        let mut window = ReplayWindow::new();
        for (step, (counter, accepted)) in sequence.into_iter().enumerate() {
            assert_eq!(window.accept(counter), accepted, "step {step}: counter {counter}");
        }
    }

    fn all_accepted(counters: impl IntoIterator<Item = u64>) -> impl Iterator<Item = (u64, bool)> {
        counters.into_iter().map(|counter| (counter, true))
    }

    /// The acceptance table shared with the kernel's and wireguard-go's tests.
    #[test]
    fn the_acceptance_table_holds() {
        const L: u64 = 8129;
        assert_sequence([
            (0, true),
            (1, true),
            (1, false),
            (9, true),
            (8, true),
            (7, true),
            (7, false),
            (L, true),
            (L - 1, true),
            (L - 1, false),
            (L - 2, true),
            (2, true),
            (2, false),
            (L + 16, true),
            (3, false),
            (L + 16, false),
            (4 * L, true),
            (4 * L - (L - 1), true),
            (10, false),
            (4 * L - L, false),
            (4 * L - (L + 1), false),
            (4 * L - (L - 2), true),
            (4 * L + 1 - L, false),
            (0, false),
            (LIMIT, false),
            (LIMIT - 1, true),
            (LIMIT, false),
            (LIMIT - 1, false),
            (LIMIT - 2, true),
            (LIMIT + 1, false),
            (LIMIT + 2, false),
            (LIMIT - 2, false),
            (LIMIT - 3, true),
            (0, false),
        ]);
    }

    #[test]
    fn the_edge_of_the_window_is_8128_behind() {
        assert_sequence(all_accepted(1..=8128).chain([(0, true), (0, false)]));
        assert_sequence(all_accepted(2..=8129).chain([(1, true), (0, false)]));
        assert_sequence(all_accepted((0..=8128).rev()));
        assert_sequence(all_accepted((1..=8129).rev()).chain([(0, false)]));
        assert_sequence(all_accepted((1..=8128).rev()).chain([(8129, true), (0, false)]));
        assert_sequence(all_accepted((1..=8128).rev()).chain([(0, true), (8129, true)]));
    }

    #[test]
    fn a_counter_beyond_the_limit_does_not_move_the_window() {
        assert_sequence([(5, true), (LIMIT, false), (u64::MAX, false), (4, true), (5, false)]);
    }

    #[test]
    fn a_jump_by_whole_rings_leaves_nothing_behind() {
        for jump in [8191, 8192, 8193, 16384, 1 << 40] {
            assert_sequence(all_accepted([63, 63 + jump, 63 + jump - 64, 63 + jump - 8128]));
        }
    }

    #[test]
    fn a_window_that_is_carried_decides_as_the_one_it_was() {
        let mut window = ReplayWindow::new();
        [0, 3, 5, 9000, 9001, 8200].into_iter().for_each(|counter| assert!(window.accept(counter)));
        let mut out = Writer::new(2048);
        window.write(&mut out);
        let mut carried: ReplayWindow = Reader::new(out.written().unwrap()).whole().unwrap();
        for counter in [0, 3, 9000, 9001, 8200, 873, 872, 9002, 8201, 9002, LIMIT - 1, LIMIT] {
            assert_eq!(carried.accept(counter), window.accept(counter), "{counter}");
        }
        assert_eq!((carried.next, carried.ring), (window.next, window.ring));
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        let mut out = Writer::new(2048);
        ReplayWindow { next: LIMIT + 1, ..ReplayWindow::new() }.write(&mut out);
        assert_eq!(Reader::new(out.written().unwrap()).whole::<ReplayWindow>().err(), Some(Malformed));
    }

    /// The obvious twin of a small window: a set of all counters, and the distance to the highest.
    fn check_against_set<const WORDS: usize>(counters: &[u64]) {
        let mut window = Window::<WORDS>::new();
        let (mut seen, mut highest) = (Vec::new(), 0);
        for counter in counters {
            let is_within = counter + 64 * (WORDS as u64 - 1) >= highest;
            let expected = is_within && *counter < LIMIT && !seen.contains(counter);
            assert_eq!(window.accept(*counter), expected, "counter {counter} after {seen:?} in {counters:?}");
            if expected {
                seen.push(*counter);
                highest = highest.max(*counter);
            }
        }
    }

    /// Calls `check` with every sequence of `len` letters.
    fn each_sequence<T: Copy>(letters: &[T], len: usize, check: impl Fn(&[T])) {
        let mut sequence = vec![letters[0]; len];
        for number in 0..letters.len().pow(len as u32) {
            let mut rest = number;
            for place in &mut sequence {
                *place = letters[rest % letters.len()];
                rest /= letters.len();
            }
            check(&sequence);
        }
    }

    #[test]
    fn every_three_counters_up_to_three_rings_are_decided_as_a_set_does() {
        let counters: Vec<u64> = (0..=3 * 64 + 1).collect();
        each_sequence(&counters, 3, check_against_set::<1>);
        let counters: Vec<u64> = (0..=3 * 128).step_by(3).chain([63, 64, 127, 128, 191, 192]).collect();
        each_sequence(&counters, 3, check_against_set::<2>);
    }

    #[test]
    fn every_six_counters_around_the_edges_of_words_and_rings_are_decided_as_a_set_does() {
        each_sequence(&[0, 1, 63, 64, 65, 127, 128, 129, 192, 256], 6, check_against_set::<2>);
        each_sequence(&[0, 64, 127, 128, 191, 192, 193, 320, LIMIT - 1, LIMIT], 5, check_against_set::<3>);
    }

    proptest! {
        /// The obvious twin: a set of all counters, and the distance to the highest.
        #[test]
        fn the_window_decides_as_a_set_does(steps in proptest::collection::vec((0_u8..4, 0_u64..20_000), 1..600)) {
            let mut window = ReplayWindow::new();
            let mut seen = HashSet::new();
            let mut highest = 0;
            for (kind, offset) in steps {
                let counter = match kind {
                    0 => highest + 1,
                    1 => highest + offset % 200,
                    2 => highest + offset,
                    _ => highest.saturating_sub(offset % 8200),
                };
                let expected = highest.saturating_sub(counter) <= 8128 && !seen.contains(&counter);
                prop_assert_eq!(window.accept(counter), expected, "counter {} at highest {}", counter, highest);
                if expected {
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
