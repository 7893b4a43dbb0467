//! TAI64N timestamps, whitened: what makes a recorded initiation useless.
//!
//! Comparison is bytewise, which for big-endian fields is comparison in time.
//!
//! Not here: the greatest timestamp accepted from a peer and the last one sent to it (see `peer`). They live in memory
//! only, so that a clock that was once wrong is cured by a restart.
//!
//! Source: <https://cr.yp.to/libtai/tai64.html>; whitepaper section 5.1; whitening as the kernel's `tai64n_now`.

use std::time::Duration;

use super::time::WallTime;

/// A 12-byte TAI64N label: 8 bytes seconds (big-endian, offset 0x400000000000000a), 4 bytes nanoseconds (big-endian).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub [u8; 12]);

impl Timestamp {
    /// Makes the label of `wall`, nanoseconds rounded down to a multiple of 2^24.
    ///
    /// Rounded, because handshakes would otherwise show the world a precise clock; 2^24 ns is the greatest power of two
    /// within the 20 ms in which one initiation is accepted.
    pub fn whitened(wall: WallTime) -> Self {
        Self::from_parts(OFFSET.saturating_add(wall.secs), wall.nanos & !(GRANULE - 1))
    }

    /// Returns `max(whitened(wall), last + one granule)`: never goes back, whatever the clock does.
    ///
    /// The kernel sends what its clock says; the peer then refuses every initiation until a clock that was set back has
    /// caught up.
    pub fn after(last: Option<Self>, wall: WallTime) -> Self {
        let now = Self::whitened(wall);
        last.map_or(now, |last| now.max(last.next_granule()))
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let ([secs, nanos], [earlier_secs, earlier_nanos]) = (self.parts(), earlier.parts());
        let difference = Duration::new(secs, 0).saturating_add(Duration::from_nanos(nanos));
        difference.saturating_sub(Duration::new(earlier_secs, 0).saturating_add(Duration::from_nanos(earlier_nanos)))
    }

    /// Returns the label's seconds and nanoseconds.
    fn parts(self) -> [u64; 2] {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = self.0;
        [u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), u64::from(u32::from_be_bytes([n0, n1, n2, n3]))]
    }

    fn next_granule(self) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = self.0;
        let secs = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let nanos = (u32::from_be_bytes([n0, n1, n2, n3]) & !(GRANULE - 1)).saturating_add(GRANULE);
        if nanos < NANOS_PER_SEC { Self::from_parts(secs, nanos) } else { Self::from_parts(secs.saturating_add(1), 0) }
    }

    fn from_parts(secs: u64, nanos: u32) -> Self {
        let mut label = [0; 12];
        label[..8].copy_from_slice(&secs.to_be_bytes());
        label[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(label)
    }
}

/// 2^62, the label of 1970, and the 10 seconds TAI was ahead of UTC then. Leap seconds since are not counted.
const OFFSET: u64 = 0x4000_0000_0000_000a;
const GRANULE: u32 = 1 << 24;
const NANOS_PER_SEC: u32 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALL: WallTime = WallTime { secs: 1_700_000_000, nanos: 7 << 24 };

    #[test]
    fn the_label_of_the_vectors() {
        let label = [0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a, 0x07, 0, 0, 0];
        assert_eq!(Timestamp::whitened(WALL).0, label);
        assert_eq!(Timestamp::whitened(WallTime { nanos: WALL.nanos + (1 << 24) - 1, ..WALL }).0, label);
    }

    #[test]
    fn a_clock_set_back_yields_growing_timestamps() {
        let mut last = Timestamp::after(None, WALL);
        assert_eq!(last, Timestamp::whitened(WALL));
        for _ in 0..200 {
            let next = Timestamp::after(Some(last), WallTime { secs: 5, nanos: 0 });
            assert!(next > last);
            last = next;
        }
        assert_eq!(Timestamp::after(Some(last), WallTime { secs: WALL.secs + 100, nanos: 0 }).0[7], 0x0a + 100);
    }

    #[test]
    fn the_time_between_two_labels_is_that_between_the_clocks() {
        let later = Timestamp::whitened(WallTime { secs: WALL.secs + 86_400, nanos: 0 });
        let between = Duration::new(86_399, 1_000_000_000 - (7 << 24));
        assert_eq!(later.since(Timestamp::whitened(WALL)), between);
        assert_eq!(Timestamp::whitened(WALL).since(later), Duration::ZERO);
        assert_eq!(Timestamp([0xff; 12]).since(Timestamp::default()).as_secs(), u64::MAX, "a hostile label");
    }

    #[test]
    fn the_last_granule_of_a_second_carries() {
        let last = Timestamp::whitened(WallTime { secs: 9, nanos: 999_999_999 });
        assert_eq!(
            Timestamp::after(Some(last), WALL.min(WallTime::default())),
            Timestamp::whitened(WallTime { secs: 10, nanos: 0 })
        );
    }

    /// Moments around every boundary: of granules, of seconds, of the widths of seconds.
    fn boundaries() -> Vec<WallTime> {
        let granules = (0..=NANOS_PER_SEC / GRANULE).map(|n| n * GRANULE);
        let nanos = granules.flat_map(|edge| [edge.saturating_sub(1), edge, edge + 1]).chain([NANOS_PER_SEC - 1]);
        let nanos: Vec<u32> = nanos.filter(|nanos| *nanos < NANOS_PER_SEC).collect();
        let width = |bits: u32| [(1 << bits) - 1, 1 << bits];
        let secs = [0, 1, 1_700_000_000].into_iter().chain([8, 16, 31, 32, 40, 61].into_iter().flat_map(width));
        secs.flat_map(|secs| nanos.iter().map(move |nanos| WallTime { secs, nanos: *nanos })).collect()
    }

    #[test]
    fn at_every_boundary_a_label_is_the_moment_rounded_down_to_a_granule() {
        for wall in boundaries() {
            let label = Timestamp::whitened(wall).0;
            let secs = u64::from_be_bytes(label[..8].try_into().expect("8 bytes"));
            let nanos = u32::from_be_bytes(label[8..].try_into().expect("4 bytes"));
            assert_eq!(secs, OFFSET + wall.secs, "{wall:?}");
            assert!(nanos.is_multiple_of(GRANULE) && nanos <= wall.nanos && wall.nanos - nanos < GRANULE, "{wall:?}");
        }
    }

    #[test]
    fn between_any_two_boundaries_labels_never_go_back_and_the_next_is_the_least_that_is_later() {
        let boundaries = boundaries();
        for (n, first) in boundaries.iter().enumerate() {
            let last = Timestamp::whitened(*first);
            for second in boundaries.iter().skip(n % 7).step_by(7) {
                let label = Timestamp::whitened(*second);
                assert!(first.cmp(second) == last.cmp(&label) || last == label, "{first:?} {second:?}");
                let next = Timestamp::after(Some(last), *second);
                // There is no label between `last` and the granule behind it.
                assert!(next > last && (next == label || next == last.next_granule()), "{first:?} {second:?}");
                assert_eq!(next == label, label > last, "{first:?} {second:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn order_of_labels_is_order_in_time(a in any::<u32>(), b in any::<u32>(), m in 0..60_u32, n in 0..60_u32) {
            let left = WallTime { secs: a.into(), nanos: m << 24 };
            let right = WallTime { secs: b.into(), nanos: n << 24 };
            prop_assert_eq!(Timestamp::whitened(left).cmp(&Timestamp::whitened(right)), left.cmp(&right));
        }

        #[test]
        fn the_next_is_later_than_the_last(
            last in any::<[u8; 11]>(),
            secs in any::<u64>(),
            nanos in 0..1_000_000_000_u32,
        ) {
            let mut label = [0; 12];
            label[1..].copy_from_slice(&last);
            let last = Timestamp(label);
            let next = Timestamp::after(Some(last), WallTime { secs, nanos });
            prop_assert!(next > last);
        }
    }
}
