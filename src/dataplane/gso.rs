//! Segmenting what the TUN gives: one large packet becomes the packets it stands for, each written straight to where
//! it will be sealed.
//!
//! Not here: the opposite (see `gro`), and the virtio header that says what to do (see `offload`).
//!
//! Everything is checked once, in [`Segments::new`]; writing a segment then cannot fail, whatever the packet says.
//! Measured with `benches/offload.rs` (EPYC of 2024): 45 ns a segment of 1,420 bytes, of which the copy takes 11 and the
//! sum of the payload 27.
//!
//! Sources: RFC 9293 and RFC 3168 section 6.1.2 (TCP flags over segments), RFC 768, RFC 791, RFC 8200.

use super::checksum::{self, Sum};
use super::offload::{Offload, PartialChecksum, Segmentation};

/// Why a packet from the TUN cannot be segmented: its header lengths do not fit its bytes, or its kind is not the one
/// the offload names. Such a packet is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offload header does not describe the packet")]
pub struct BadOffload;

/// The most packets one may stand for: Linux segments TCP into no less than 8 bytes (its least MSS, 48, without 40 bytes
/// of options).
pub const MAX_SEGMENTS: usize = 65_535 / 8;

/// A packet from the TUN, ready to be written out segment by segment. Borrows the packet; allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    segment_len: usize,
    kind: Kind,
    /// Sum of the IPv4 header without its total length, identification and checksum.
    v4_constant: Sum,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Goes out as it is, once its checksum is finished.
    Single(Option<PartialChecksum>),
    /// `start` is the offset of the TCP header; `constant` sums what all segments share of pseudo-header and header:
    /// all but the length, the sequence number and the flags.
    Tcp { start: usize, constant: Sum },
    /// The same for UDP: all but the two lengths.
    Udp { start: usize, constant: Sum },
}

impl<'a> Segments<'a> {
    /// Checks `offload` against `packet` (which starts at its IP header). `offload.header_len` may be larger than the
    /// headers are, as the kernel's hint is for forwarded packets: the headers' own lengths decide.
    ///
    /// # Errors
    /// The version or protocol is not the one named; a length or the checksum field lies beyond the packet; the packet
    /// is an IPv4 fragment; the segments would have no length, be longer than 65,535 bytes or more than
    /// [`MAX_SEGMENTS`].
    pub fn new(packet: &'a [u8], offload: Offload) -> Result<Self, BadOffload> {
        let Some(segmentation) = offload.segmentation else {
            return Self::single(packet, offload.checksum).ok_or(BadOffload);
        };
        Self::several(packet, offload, segmentation).ok_or(BadOffload)
    }

    fn single(packet: &'a [u8], partial: Option<PartialChecksum>) -> Option<Self> {
        let fits =
            |partial: PartialChecksum| usize::from(partial.start) + usize::from(partial.offset) + 2 <= packet.len();
        let kind = Kind::Single(partial);
        let segments =
            Self { headers: &[], payload: packet, segment_len: packet.len(), kind, v4_constant: Sum::default() };
        partial.is_none_or(fits).then_some(segments)
    }

    fn several(packet: &'a [u8], offload: Offload, segmentation: Segmentation) -> Option<Self> {
        let protocol = if segmentation == Segmentation::Udp { UDP } else { TCP };
        let (start, addresses) = match (packet.first()? >> 4, segmentation) {
            (4, Segmentation::Tcp4 | Segmentation::Udp) => (v4_start(packet, protocol)?, packet.get(12..20)?),
            (6, Segmentation::Tcp6 | Segmentation::Udp) => (v6_start(packet, protocol)?, packet.get(8..40)?),
            _ => return None,
        };
        let transport = packet.get(start..)?;
        let (transport_len, checksum_offset) = match protocol {
            TCP => (usize::from(transport.get(12)? >> 4) * 4, 16),
            _ => (UDP_LEN, 6),
        };
        if protocol == TCP && transport_len < TCP_LEN {
            return None;
        }
        let (headers, payload) = packet.split_at_checked(start + transport_len)?;
        let hint = usize::from(offload.header_len);
        let described = hint >= headers.len() && hint <= packet.len();
        let partial = offload.checksum.unwrap_or(PartialChecksum { start: start as u16, offset: checksum_offset });
        if !described || usize::from(partial.start) != start || partial.offset != checksum_offset {
            return None;
        }
        let constant = Sum::of(addresses) + Sum::of_word(u16::from(protocol));
        let kind = if protocol == TCP {
            let mut header = [0; MAX_TCP_LEN];
            header[..transport_len].copy_from_slice(&headers[start..]);
            // What differs between segments: sequence number, data offset and flags, checksum.
            header[4..8].fill(0);
            header[12..14].fill(0);
            header[16..18].fill(0);
            Kind::Tcp { start, constant: constant + Sum::of(&header) }
        } else {
            Kind::Udp { start, constant: constant + Sum::of(&headers[start..start + 4]) }
        };
        let v4_constant = Sum::of(&headers[..2]) + Sum::of(&headers[6..10]) + Sum::of(&headers[12..start]);
        let segment_len = usize::from(offload.segment_len);
        let segments = Self { headers, payload, segment_len, kind, v4_constant };
        let in_bounds = segments.segment_len > 0
            && segments.count() <= MAX_SEGMENTS
            && headers.len() + segments.segment_len.min(payload.len()) <= usize::from(u16::MAX);
        in_bounds.then_some(segments)
    }

    /// Returns how many packets it stands for: 1 without segmentation.
    pub fn count(&self) -> usize {
        match self.kind {
            Kind::Single(_) => 1,
            // Without a payload there is still the packet of the headers.
            _ => self.payload.len().div_ceil(self.segment_len).max(1),
        }
    }

    /// Returns the length of segment `n` with its headers. All but the last are equal.
    ///
    /// # Panics
    /// If `n` is not below [`Segments::count`].
    #[allow(clippy::len_without_is_empty)] // The length of a part, not a number of parts: there is always one.
    pub fn len(&self, n: usize) -> usize {
        self.headers.len() + self.payload_of(n).len()
    }

    /// Writes segment `n` with finished headers and checksums to `out[..self.len(n)]`.
    ///
    /// TCP: sequence numbers and IPv4 identifications count up; FIN and PSH are the last segment's, CWR the first's.
    /// UDP: each segment is a datagram with its own length and checksum.
    ///
    /// # Panics
    /// If `n` is not below [`Segments::count`], or `out` is shorter than [`Segments::len`] of `n`.
    pub fn write(&self, n: usize, out: &mut [u8]) {
        let payload = self.payload_of(n);
        let (headers, rest) = out.split_at_mut(self.headers.len());
        headers.copy_from_slice(self.headers);
        rest[..payload.len()].copy_from_slice(payload);
        match self.kind {
            Kind::Single(partial) => {
                if let Some(partial) = partial {
                    checksum::finish(&mut rest[..payload.len()], partial);
                }
            }
            Kind::Tcp { start, constant } => {
                let (ip, tcp) = headers.split_at_mut(start);
                self.write_ip(ip, n, tcp.len() + payload.len());
                self.write_tcp(tcp, n, constant, payload);
            }
            Kind::Udp { start, constant } => {
                let (ip, udp) = headers.split_at_mut(start);
                self.write_ip(ip, n, udp.len() + payload.len());
                write_udp(udp, constant, payload);
            }
        }
    }

    fn payload_of(&self, n: usize) -> &'a [u8] {
        let start = n * self.segment_len;
        &self.payload[start..self.payload.len().min(start + self.segment_len)]
    }

    /// Sets what differs in the IP header of segment `n`, which carries `len` bytes after it.
    // Here and below, sums are made of the numbers and not of the bytes just stored: to read those back in wider words
    // would wait for the stores.
    fn write_ip(&self, ip: &mut [u8], n: usize, len: usize) {
        if ip[0] >> 4 == 4 {
            let total_len = (ip.len() + len) as u16;
            let id = u16::from_be_bytes([self.headers[4], self.headers[5]]).wrapping_add(n as u16);
            ip[2..4].copy_from_slice(&total_len.to_be_bytes());
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            let sum = self.v4_constant + Sum::of_word(total_len) + Sum::of_word(id);
            ip[10..12].copy_from_slice(&sum.checksum());
        } else {
            let payload_len = (ip.len() - V6_LEN + len) as u16;
            ip[4..6].copy_from_slice(&payload_len.to_be_bytes());
        }
    }

    fn write_tcp(&self, tcp: &mut [u8], n: usize, constant: Sum, payload: &[u8]) {
        let original = &self.headers[self.headers.len() - tcp.len()..];
        let seq = u32::from_be_bytes([original[4], original[5], original[6], original[7]]);
        let seq = seq.wrapping_add((n * self.segment_len) as u32);
        let mut flags = original[13];
        if n > 0 {
            flags &= !CWR;
        }
        if n + 1 < self.count() {
            flags &= !(FIN | PSH);
        }
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        tcp[13] = flags;
        let sum = constant
            + Sum::of_words((tcp.len() + payload.len()) as u32)
            + Sum::of_words(seq)
            + Sum::of_word(u16::from_be_bytes([original[12], flags]))
            + Sum::of(payload);
        tcp[16..18].copy_from_slice(&sum.checksum());
    }
}

fn write_udp(udp: &mut [u8], constant: Sum, payload: &[u8]) {
    let len = (UDP_LEN + payload.len()) as u16;
    udp[4..6].copy_from_slice(&len.to_be_bytes());
    // The length counts twice: in the pseudo-header and in the header.
    let sum = constant + Sum::of_word(len) + Sum::of_word(len) + Sum::of(payload);
    udp[6..8].copy_from_slice(&checksum::never_zero(sum.checksum()));
}

/// Returns the offset of the transport header of an unfragmented IPv4 packet of `protocol`.
fn v4_start(packet: &[u8], protocol: u8) -> Option<usize> {
    let header = packet.first_chunk::<V4_LEN>()?;
    let start = usize::from(header[0] & 0xf) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    (start >= V4_LEN && header[9] == protocol && !fragment).then_some(start)
}

/// Returns the offset of the transport header of an IPv6 packet of `protocol`, beyond options. A routing header is
/// refused: the pseudo-header would have another destination than the header.
fn v6_start(packet: &[u8], protocol: u8) -> Option<usize> {
    let (mut next, mut start) = (*packet.get(6)?, V6_LEN);
    while next == HOP_BY_HOP || next == DESTINATION {
        let [following, len] = *packet.get(start..)?.first_chunk()?;
        next = following;
        start += (usize::from(len) + 1) * 8;
    }
    (next == protocol).then_some(start)
}

const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const MAX_TCP_LEN: usize = 60;
const UDP_LEN: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const DESTINATION: u8 = 60;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

#[cfg(test)]
pub(super) mod tests;
