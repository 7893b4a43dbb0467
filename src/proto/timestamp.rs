//! TAI64N timestamps, whitened. SKELETON: helper fills in.

use super::time::WallTime;

/// A 12-byte TAI64N label: 8 bytes seconds (big-endian, offset 0x400000000000000a), 4 bytes nanoseconds (big-endian).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub [u8; 12]);

impl Timestamp {
    /// Makes the label of `wall`, nanoseconds rounded down to a multiple of 2^24.
    pub fn whitened(wall: WallTime) -> Self {
        let _ = wall;
        unimplemented!()
    }

    /// Returns `max(whitened(wall), last + one granule)`: never goes back, whatever the clock does.
    pub fn after(last: Option<Self>, wall: WallTime) -> Self {
        let _ = (last, wall);
        unimplemented!()
    }
}
