//! The header before every packet at a TUN with IFF_VNET_HDR: checksum and segmentation state.
//!
//! Not here: the work it asks for (see `dataplane::gso`, `gro`, `checksum`).
//!
//! Source: virtio specification 1.2, section 5.1.6 (struct virtio_net_hdr); Linux `virtio_net.h` for the legacy layout
//! of 10 bytes in host order that TUN uses unless told otherwise.

use crate::dataplane::offload::{Offload, PartialChecksum, Segmentation};

/// Bytes of the header.
///
/// # Layout
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 1 | flags: 1 = checksum is to be finished |
/// | 1 | 1 | segmentation: 0 none, 1 TCP/IPv4, 4 TCP/IPv6, 5 UDP; 0x80 = with ECN |
/// | 2 | 2 | bytes of all headers, a hint |
/// | 4 | 2 | payload bytes per segment |
/// | 6 | 2 | where the checksum starts |
/// | 8 | 2 | where its field is, from there |
pub(super) const LEN: usize = 10;

/// Lays `offload` out.
pub(super) fn encode(offload: Offload) -> [u8; LEN] {
    let mut header = [0; LEN];
    if let Some(checksum) = offload.checksum {
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
        header[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
    }
    if let Some(segmentation) = offload.segmentation {
        header[1] = match segmentation {
            Segmentation::Tcp4 => TCP4,
            Segmentation::Tcp6 => TCP6,
            Segmentation::Udp => UDP,
        };
        header[2..4].copy_from_slice(&offload.header_len.to_ne_bytes());
        header[4..6].copy_from_slice(&offload.segment_len.to_ne_bytes());
    }
    header
}

/// Reads the header that came with `packet`; `None` if it asks for something that was not negotiated or contradicts
/// the packet.
///
/// The header length in it is not used: it is a hint, and for forwarded packets the kernel gives the length of the
/// first fragment there. The length is found from the packet.
pub(super) fn decode(header: [u8; LEN], packet: &[u8]) -> Option<Offload> {
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let checksum = (header[0] & NEEDS_CHECKSUM != 0).then(|| PartialChecksum { start: word(6), offset: word(8) });
    if let Some(PartialChecksum { start, offset }) = checksum
        && usize::from(start) + usize::from(offset) + 2 > packet.len()
    {
        return None;
    }
    let segmentation = match header[1] & !ECN {
        NONE => return Some(Offload { checksum, ..Offload::default() }),
        TCP4 => Segmentation::Tcp4,
        TCP6 => Segmentation::Tcp6,
        UDP => Segmentation::Udp,
        _ => return None,
    };
    let segment_len = word(4);
    let transport = match checksum {
        Some(checksum) => usize::from(checksum.start),
        None => network_header_len(packet)?,
    };
    let transport_len = match segmentation {
        Segmentation::Udp => 8,
        Segmentation::Tcp4 | Segmentation::Tcp6 => usize::from(*packet.get(transport + 12)? >> 4) * 4,
    };
    let header_len = transport + transport_len;
    let known = segment_len > 0 && transport_len >= 8 && header_len <= packet.len();
    known.then_some(Offload {
        segmentation: Some(segmentation),
        segment_len,
        header_len: u16::try_from(header_len).ok()?,
        checksum,
    })
}

/// Returns the length of the IP header when nothing else tells where the transport header starts; `None` with IPv6
/// extension headers.
fn network_header_len(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => Some(usize::from(packet[0] & 15) * 4),
        6 => matches!(packet.get(6)?, 6 | 17).then_some(40),
        _ => None,
    }
}

const NEEDS_CHECKSUM: u8 = 1;
const NONE: u8 = 0;
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;
const ECN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u8, transport: usize, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = if version == 4 { 0x40 | (transport / 4) as u8 } else { 0x60 };
        if let Some(data_offset) = packet.get_mut(transport + 12) {
            *data_offset = 8 << 4;
        }
        packet
    }

    #[test]
    fn what_is_written_is_read_back() {
        let cases = [
            (Segmentation::Tcp4, 4, 20, 20 + 32, 16),
            (Segmentation::Tcp6, 6, 40, 40 + 32, 16),
            (Segmentation::Udp, 4, 24, 24 + 8, 6),
            (Segmentation::Udp, 6, 48, 48 + 8, 6),
        ];
        for (segmentation, version, start, header_len, offset) in cases {
            let offload = Offload {
                segmentation: Some(segmentation),
                segment_len: 1380,
                header_len,
                checksum: Some(PartialChecksum { start, offset }),
            };
            assert_eq!(decode(encode(offload), &packet(version, start.into(), 4000)), Some(offload));
        }
        let partial = Offload { checksum: Some(PartialChecksum { start: 20, offset: 16 }), ..Offload::default() };
        assert_eq!(decode(encode(partial), &packet(4, 20, 60)), Some(partial));
        assert_eq!(decode([0; LEN], &[0x45]), Some(Offload::default()));
    }

    #[test]
    fn the_header_length_comes_from_the_packet_not_from_the_hint() {
        let mut header = [0; LEN];
        header[1] = TCP4 | ECN;
        header[2..4].copy_from_slice(&1500_u16.to_ne_bytes());
        header[4..6].copy_from_slice(&1000_u16.to_ne_bytes());
        let offload = decode(header, &packet(4, 20, 4000)).unwrap();
        assert_eq!(offload.header_len, 52);
        assert_eq!(offload.checksum, None);
    }

    #[test]
    fn a_checksum_field_outside_of_the_packet_is_refused() {
        let mut header = [0; LEN];
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&20_u16.to_ne_bytes());
        header[8..10].copy_from_slice(&16_u16.to_ne_bytes());
        assert!(decode(header, &packet(4, 20, 38)).is_some());
        assert_eq!(decode(header, &packet(4, 20, 37)), None);
    }

    #[test]
    fn unknown_kinds_empty_segments_and_headers_beyond_the_packet_are_refused() {
        let header = |kind, segment_len: u16| {
            let mut header = [0; LEN];
            header[1] = kind;
            header[4..6].copy_from_slice(&segment_len.to_ne_bytes());
            header
        };
        assert!(decode(header(TCP4, 1), &packet(4, 20, 52)).is_some());
        assert_eq!(decode(header(TCP4, 1), &packet(4, 20, 51)), None);
        assert_eq!(decode(header(TCP4, 1), &packet(4, 20, 32)), None);
        assert_eq!(decode(header(TCP4, 0), &packet(4, 20, 52)), None);
        assert_eq!(decode(header(3, 1), &packet(4, 20, 52)), None);
        assert_eq!(decode(header(TCP6, 1), &[]), None);
    }
}
