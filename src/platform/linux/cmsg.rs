//! Control messages: what is said about a datagram beside its bytes and its address.
//!
//! They are read and written as bytes, so that hostile lengths can be tried without a kernel.
//!
//! Not here: which messages a socket asks for (see `udp`).
//!
//! Source: cmsg(3), ip(7), ipv6(7), udp(7); RFC 3542 section 6 (packet information).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proto::endpoint::Source;
use crate::proto::time::WallTime;

/// Control messages back to back.
///
/// # Layout
/// Each: its length without padding (size_t), level (int), type (int), data, padded to the size of a size_t. All in
/// host order.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlBuffer {
    bytes: [u8; Self::ROOM],
    len: u8,
}

/// What the control messages of a received datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceivedControl {
    /// The local address it was sent to and the interface it came in by.
    pub(super) source: Option<Source>,
    /// The DS byte of the outer header: DSCP and ECN; 0 if not told.
    pub(super) ds: u8,
    /// Bytes of each datagram of a train that the kernel merged.
    pub(super) segment_len: Option<usize>,
}

impl ControlBuffer {
    /// The three messages we ask for take 40 (packet information), 24 (DS byte) and 24 (segment length) bytes on
    /// 64-bit. Should more come, the kernel says that some were cut, and the datagram is dropped.
    pub(super) const ROOM: usize = 104;

    /// Makes an empty buffer.
    pub(super) const fn new() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    /// Adds the local address to send from. The interface is left to routing, except for link-local IPv6, where an
    /// address alone means nothing.
    pub(super) fn push_source(&mut self, source: Source) {
        match source.address {
            IpAddr::V4(address) => {
                // struct in_pktinfo: interface, the source address, an address that is ignored when sending.
                let mut data = [0; 12];
                data[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
            }
            IpAddr::V6(address) => {
                // struct in6_pktinfo: the source address, interface.
                let interface = if address.is_unicast_link_local() { source.interface } else { 0 };
                let mut data = [0; 20];
                data[..16].copy_from_slice(&address.octets());
                data[16..].copy_from_slice(&interface.to_ne_bytes());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
            }
        }
    }

    /// Adds the DS byte, for an IPv4 or IPv6 datagram.
    pub(super) fn push_ds(&mut self, ds: u8, v6: bool) {
        let (level, kind) = if v6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
        self.push(level, kind, &i32::from(ds).to_ne_bytes());
    }

    /// Asks the kernel to cut the payload into datagrams of `len` bytes.
    pub(super) fn push_segment_len(&mut self, len: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &len.to_ne_bytes());
    }

    /// Reads what the kernel said. Unknown messages are skipped; at one that contradicts the buffer reading stops.
    pub(super) fn parse(&self) -> ReceivedControl {
        let mut control = ReceivedControl::default();
        let mut rest = self.bytes();
        while let Some((level, kind, data, after)) = next(rest) {
            rest = after;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => control.source = source4(data).or(control.source),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => control.source = source6(data).or(control.source),
                // One byte in what the kernel sends for IPv4, an int for IPv6.
                (libc::IPPROTO_IP, libc::IP_TOS) => control.ds = data.first().copied().unwrap_or(0),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => control.ds = int(data).unwrap_or(0) as u8,
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    control.segment_len = int(data).and_then(|len| usize::try_from(len).ok()).filter(|&len| len > 0);
                }
                _ => {}
            }
        }
        control
    }

    /// Returns when the kernel received the message, if it was asked to say so.
    pub(super) fn timestamp(&self) -> Option<WallTime> {
        let mut rest = self.bytes();
        while let Some((level, kind, data, after)) = next(rest) {
            rest = after;
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                let (secs, nanos) = data.split_at_checked(size_of::<libc::time_t>())?;
                let nanos = u32::try_from(libc::c_long::from_ne_bytes(*nanos.first_chunk()?)).ok()?;
                return Some(WallTime {
                    secs: libc::time_t::from_ne_bytes(*secs.first_chunk()?).try_into().ok()?,
                    nanos,
                });
            }
        }
        None
    }

    /// Returns the bytes in use.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns all the room, to be written by the kernel.
    pub(super) fn room(&mut self) -> &mut [u8; Self::ROOM] {
        &mut self.bytes
    }

    /// Says how many bytes of [`ControlBuffer::room`] were written; more than the room is all of it.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(Self::ROOM) as u8;
    }

    /// # Panics
    /// Never: the three messages for sending, each at most once, fit by the definition of [`ControlBuffer::ROOM`].
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let start = usize::from(self.len);
        let message = &mut self.bytes[start..];
        message[..ALIGN].copy_from_slice(&(HEADER_LEN + data.len()).to_ne_bytes());
        message[ALIGN..][..4].copy_from_slice(&level.to_ne_bytes());
        message[ALIGN + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_LEN..][..data.len()].copy_from_slice(data);
        self.len += (HEADER_LEN + data.len().next_multiple_of(ALIGN)) as u8;
    }
}

impl Default for ControlBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Splits the first message off: level, type, data and what follows.
fn next(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = i32::from_ne_bytes(*bytes.get(ALIGN..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*bytes.get(ALIGN + 4..)?.first_chunk()?);
    let data = bytes.get(HEADER_LEN..len)?;
    let after = bytes.get(len.checked_next_multiple_of(ALIGN)?..).unwrap_or_default();
    Some((level, kind, data, after))
}

fn source4(data: &[u8]) -> Option<Source> {
    let interface = u32::from_ne_bytes(*data.first_chunk()?);
    // ipi_spec_dst: the local address, also for a datagram that was sent to a broadcast address.
    let octets: [u8; 4] = *data.get(4..)?.first_chunk()?;
    Some(Source { address: Ipv4Addr::from(octets).into(), interface })
}

fn source6(data: &[u8]) -> Option<Source> {
    let octets: [u8; 16] = *data.first_chunk()?;
    let interface = u32::from_ne_bytes(*data.get(16..)?.first_chunk()?);
    Some(Source { address: Ipv6Addr::from(octets).into(), interface })
}

fn int(data: &[u8]) -> Option<i32> {
    data.first_chunk().copied().map(i32::from_ne_bytes)
}

const ALIGN: usize = size_of::<usize>();
const HEADER_LEN: usize = ALIGN + 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> ControlBuffer {
        let mut buffer = ControlBuffer::new();
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.set_len(bytes.len());
        buffer
    }

    #[test]
    fn all_three_messages_for_sending_fit_and_are_read_back() {
        let source = Source { address: "fe80::1".parse().unwrap(), interface: 7 };
        let mut buffer = ControlBuffer::new();
        buffer.push_source(source);
        buffer.push_ds(0x8a, true);
        buffer.push_segment_len(1400);
        assert!(buffer.bytes().len() <= ControlBuffer::ROOM);
        assert_eq!(buffer.bytes().len() % ALIGN, 0);
        let control = buffer.parse();
        assert_eq!(control.source, Some(source));
        assert_eq!(control.ds, 0x8a);
    }

    #[test]
    fn the_interface_is_given_for_link_local_sources_alone() {
        for (address, interface) in [("192.0.2.1", 0), ("2001:db8::1", 0), ("fe80::1", 9)] {
            let address = address.parse().unwrap();
            let mut buffer = ControlBuffer::new();
            buffer.push_source(Source { address, interface: 9 });
            assert_eq!(buffer.parse().source, Some(Source { address, interface }));
        }
    }

    #[test]
    fn segment_length_of_a_train_is_read_and_senseless_ones_are_not() {
        for (value, expected) in [(1452, Some(1452)), (0, None), (-1, None)] {
            let mut buffer = ControlBuffer::new();
            buffer.push(libc::SOL_UDP, libc::UDP_GRO, &i32::to_ne_bytes(value));
            assert_eq!(buffer.parse().segment_len, expected);
        }
    }

    #[test]
    fn hostile_lengths_stop_the_reading() {
        for len in [0, 1, HEADER_LEN - 1, 200, usize::MAX, usize::MAX - 7] {
            let mut buffer = ControlBuffer::new();
            buffer.push_ds(0xff, false);
            buffer.room()[..ALIGN].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(buffer.parse(), ReceivedControl::default(), "{len}");
        }
    }

    #[test]
    fn data_shorter_than_its_type_is_no_answer() {
        for len in 0..12 {
            let mut buffer = ControlBuffer::new();
            buffer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 12][..len]);
            assert_eq!(buffer.parse().source.is_some(), len >= 8, "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..=ControlBuffer::ROOM)) {
            let _ = written(&bytes).parse();
        }
    }
}
