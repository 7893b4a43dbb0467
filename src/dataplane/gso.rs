//! Segmenting what the TUN gives: one large packet becomes the packets it stands for, each written straight to where
//! it will be sealed. SKELETON: helper fills in.

use super::offload::Offload;

/// Why a packet from the TUN cannot be segmented: its header lengths do not fit its bytes, or its kind is not the one
/// the offload names. Such a packet is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offload header does not describe the packet")]
pub struct BadOffload;

/// A packet from the TUN, ready to be written out segment by segment. Borrows the packet; allocates nothing.
pub struct Segments<'a> {
    packet: &'a [u8],
    offload: Offload,
}

impl<'a> Segments<'a> {
    /// Checks `offload` against `packet` (which starts at its IP header).
    pub fn new(packet: &'a [u8], offload: Offload) -> Result<Self, BadOffload> {
        let _ = (packet, offload);
        unimplemented!()
    }

    /// Returns how many packets it stands for: 1 without segmentation.
    pub fn count(&self) -> usize {
        let _ = (self.packet, self.offload);
        unimplemented!()
    }

    /// Returns the length of segment `n` with its headers. All but the last are equal.
    pub fn len(&self, n: usize) -> usize {
        let _ = n;
        unimplemented!()
    }

    /// Writes segment `n` with finished headers and checksums to `out[..self.len(n)]`.
    pub fn write(&self, n: usize, out: &mut [u8]) {
        let _ = (n, out);
        unimplemented!()
    }
}
