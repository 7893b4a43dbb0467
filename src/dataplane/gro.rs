//! Coalescing what goes to the TUN: in-order segments of a flow become one packet, written by scatter-gather without
//! copying a payload.
//!
//! Not here: the opposite (see `gso`), the write, and what happens when the kernel refuses a merged packet (the writer
//! walks the group and writes its packets one by one).
//!
//! A merged packet is one that segmentation turns back into exactly the packets it was made of. So headers must be equal
//! but for what segmentation rewrites (lengths, sequence numbers, consecutive identifications, checksums, PSH at the
//! end), payloads must be of one length but for a shorter last one, and checksums must be right, as the merged packet
//! has none of its own that would show the fault. Only the identification of an IPv4 packet that may not be fragmented
//! can come back another: it means nothing.
//!
//! Packets of one flow keep their order: one that cannot be appended ends its flow's run, and one whose flow cannot be
//! seen (fragments, options, extension headers) ends all runs.
//!
//! Sources: RFC 9293, RFC 768, RFC 791, RFC 6864 (identification), RFC 8200; virtio specification 1.2, section 5.1.6.2.

mod flow;

use super::checksum::Sum;
use super::offload::{Offload, PartialChecksum, Segmentation};
use flow::{Flow, Sight, TCP, V4_LEN, V6_LEN};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The packet after each in its group, or [`NONE`].
    next: Vec<u16>,
    runs: Vec<Run>,
    /// Open addressing, from the hash of a flow to its run; at most half full.
    table: Vec<u16>,
}

/// A flow seen in this batch, and the group that its next packet may join.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// A packet of the flow, which stands for its addresses and ports.
    sample: u16,
    /// Whether the next packet may join `group`. The fields below mean something only then.
    open: bool,
    /// Whether the checksums of the group's first packet were found right. Single packets are spared the sum.
    verified: bool,
    group: u16,
    last: u16,
    segment_len: u16,
    next_seq: u32,
}

impl Coalescer {
    /// Groups `count` packets, 65,535 at most (more are left out); `packet(n)` is the n-th, trimmed to its IP length.
    /// Packets of one flow keep their order.
    pub fn coalesce<'a>(&mut self, count: usize, packet: impl Fn(usize) -> &'a [u8], classes: Classes) {
        let count = count.min(usize::from(NONE));
        if count == 1 {
            // An idle tunnel's packets come alone; looking for company costs more than all else here.
            self.groups.clear();
            self.next.clear();
            return self.push(0, packet(0));
        }
        self.reset(count);
        let packet = |n: u16| packet(usize::from(n));
        // Packets of a batch mostly follow one of their own flow.
        let mut recent = None;
        for n in 0..count as u16 {
            let bytes = packet(n);
            match flow::look(bytes, classes) {
                Sight::Alone => self.push(n, bytes),
                Sight::Hidden => {
                    self.runs.clear();
                    self.table.fill(NONE);
                    recent = None;
                    self.push(n, bytes);
                }
                Sight::Flow(flow) => {
                    let idx = match recent {
                        Some(idx) if flow.is_of(packet(self.runs[usize::from(idx)].sample), bytes) => idx,
                        _ => self.run_of(n, &flow, bytes, packet),
                    };
                    recent = Some(idx);
                    self.append(idx, n, &flow, bytes, packet);
                }
            }
        }
    }

    /// The writes, in the order of their first packets.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The packet after `n` in its group.
    pub fn next(&self, n: u16) -> Option<u16> {
        self.next.get(usize::from(n)).copied().filter(|next| *next != NONE)
    }

    fn reset(&mut self, count: usize) {
        self.groups.clear();
        self.runs.clear();
        self.next.clear();
        self.next.resize(count, NONE);
        let slots = (2 * count).next_power_of_two().max(MIN_SLOTS);
        self.table.clear();
        self.table.resize(slots, NONE);
    }

    /// Returns the run of a flow; a closed one if the flow is new.
    fn run_of<'a>(&mut self, n: u16, flow: &Flow, bytes: &[u8], packet: impl Fn(u16) -> &'a [u8]) -> u16 {
        let mask = self.table.len() - 1;
        let mut slot = flow.hash(bytes) as usize & mask;
        // The table is at most half full, so there is an end.
        while self.table[slot] != NONE {
            let idx = self.table[slot];
            if flow.is_of(packet(self.runs[usize::from(idx)].sample), bytes) {
                return idx;
            }
            slot = (slot + 1) & mask;
        }
        let idx = self.runs.len() as u16;
        self.table[slot] = idx;
        self.runs.push(Run { sample: n, open: false, verified: false, group: 0, last: 0, segment_len: 0, next_seq: 0 });
        idx
    }

    /// Puts packet `n` into the group of its run, or into a new one.
    fn append<'a>(&mut self, idx: u16, n: u16, flow: &Flow, bytes: &[u8], packet: impl Fn(u16) -> &'a [u8]) {
        let run = &mut self.runs[usize::from(idx)];
        if run.open {
            let group = &mut self.groups[usize::from(run.group)];
            if group.takes(run, flow, bytes, packet(group.first)) {
                group.count += 1;
                group.len += u32::from(flow.payload_len);
                group.header_len = flow.header_len;
                run.next_seq = run.next_seq.wrapping_add(u32::from(flow.payload_len));
                run.open = !flow.ends_run && flow.payload_len == run.segment_len;
                self.next[usize::from(run.last)] = n;
                run.last = n;
                return;
            }
        }
        *run = Run {
            sample: n,
            open: flow.mergeable && !flow.ends_run,
            verified: false,
            group: self.groups.len() as u16,
            last: n,
            segment_len: flow.payload_len,
            next_seq: flow.seq.wrapping_add(u32::from(flow.payload_len)),
        };
        self.push(n, bytes);
    }

    /// Adds a group of one packet.
    fn push(&mut self, n: u16, bytes: &[u8]) {
        self.groups.push(Group { first: n, count: 1, len: bytes.len() as u32, header_len: 0 });
    }
}

impl Group {
    /// Tells whether a packet of the same flow may follow the last of this group.
    fn takes(&self, run: &mut Run, flow: &Flow, bytes: &[u8], first: &[u8]) -> bool {
        let fits = flow.mergeable
            && flow.payload_len <= run.segment_len
            && self.len + u32::from(flow.payload_len) <= MAX_LEN
            && self.count < flow.max_count()
            && (!flow.is_tcp() || flow.seq == run.next_seq)
            && flow.follows(self.count, bytes, first);
        if !fits {
            return false;
        }
        run.verified = run.verified || flow.is_intact(first);
        run.verified && flow.is_intact(bytes)
    }

    /// Writes the merged headers (lengths, flags, partial checksum) made from `first` (the group's first packet) and
    /// `last` (its last), and tells the TUN how to see them. Only for groups of more than one packet.
    ///
    /// # Layout
    /// `out[..header_len]`: the headers of `first`, with the length of all payloads, `last`'s PSH, and in the checksum
    /// field the sum of the pseudo-header, to which the segments' own sums are to be added.
    ///
    /// # Panics
    /// If the group is a single packet, or `first` or `last` is shorter than `header_len` and so not of this group.
    pub fn write_header(&self, first: &[u8], last: &[u8], out: &mut [u8; MAX_HEADER_LEN]) -> Offload {
        let header_len = usize::from(self.header_len);
        let (headers, last) = (&mut out[..header_len], &last[..header_len]);
        headers.copy_from_slice(&first[..header_len]);
        let v4 = headers[0] >> 4 == 4;
        let (start, addresses, protocol) = if v4 { (V4_LEN, 12..20, headers[9]) } else { (V6_LEN, 8..40, headers[6]) };
        if v4 {
            headers[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
            headers[10..12].fill(0);
            let checksum = Sum::of(&headers[..V4_LEN]).checksum();
            headers[10..12].copy_from_slice(&checksum);
        } else {
            headers[4..6].copy_from_slice(&(self.len as u16 - V6_LEN as u16).to_be_bytes());
        }
        let transport_len = self.len as usize - start;
        let pseudo_header = Sum::pseudo_header(&headers[addresses], protocol, transport_len).fold();
        let transport = &mut headers[start..];
        let (segmentation, offset) = if protocol == TCP {
            transport[13] |= last[start + 13] & flow::PSH;
            (if v4 { Segmentation::Tcp4 } else { Segmentation::Tcp6 }, 16)
        } else {
            transport[4..6].copy_from_slice(&(transport_len as u16).to_be_bytes());
            (Segmentation::Udp, 6)
        };
        transport[offset..offset + 2].copy_from_slice(&pseudo_header);
        Offload {
            segmentation: Some(segmentation),
            segment_len: (first.len() - header_len) as u16,
            header_len: u16::from(self.header_len),
            checksum: Some(PartialChecksum { start: start as u16, offset: offset as u16 }),
        }
    }
}

/// The longest merged packet. IPv6 could have 40 bytes more, but no TUN takes them.
const MAX_LEN: u32 = 65_535;
/// Slots for the usual batch of up to 128 packets.
const MIN_SLOTS: usize = 256;
/// No packet, no run: there are at most 65,535 of either, so none has this index.
const NONE: u16 = u16::MAX;

#[cfg(test)]
mod tests;
