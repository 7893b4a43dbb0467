//! Coalescing what goes to the TUN: in-order segments of a flow become one packet, written by scatter-gather without
//! copying a payload. SKELETON: helper fills in.

use super::offload::Offload;

/// Room for the headers of a merged packet: IPv6 40 + TCP 60, or IPv4 60 + TCP 60.
pub const MAX_HEADER_LEN: usize = 120;

/// Which merges the TUN takes. Classes are switched off at run time when the kernel refuses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    /// Merge TCP over IPv4.
    pub tcp4: bool,
    /// Merge TCP over IPv6.
    pub tcp6: bool,
    /// Merge UDP over IPv4.
    pub udp4: bool,
    /// Merge UDP over IPv6.
    pub udp6: bool,
}

/// One write to the TUN: a single packet, or several merged.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Index of its first packet; the others follow by [`Coalescer::next`].
    pub first: u16,
    /// Number of packets.
    pub count: u16,
    /// Bytes of IP packet in all: headers once, then the payloads.
    pub len: u32,
    /// Length of the headers of each packet (equal within a group); 0 for a single packet that is written as it is.
    pub header_len: u8,
}

/// Scratch for one batch; reused, so that it allocates only while it warms up.
#[derive(Debug, Default)]
pub struct Coalescer {
    groups: Vec<Group>,
}

impl Coalescer {
    /// Groups `count` packets; `packet(n)` is the n-th, trimmed to its IP length. Packets of one flow keep their order.
    pub fn coalesce<'a>(&mut self, count: usize, packet: impl Fn(usize) -> &'a [u8], classes: Classes) {
        let _ = (count, packet(0), classes);
        unimplemented!()
    }

    /// The writes, in the order of their first packets.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The packet after `n` in its group.
    pub fn next(&self, n: u16) -> Option<u16> {
        let _ = n;
        unimplemented!()
    }
}

impl Group {
    /// Writes the merged headers (lengths, flags, partial checksum) made from `first` (the group's first packet) and
    /// `last` (its last), and tells the TUN how to see them. Only for groups of more than one packet.
    pub fn write_header(&self, first: &[u8], last: &[u8], out: &mut [u8; MAX_HEADER_LEN]) -> Offload {
        let _ = (first, last, out);
        unimplemented!()
    }
}
