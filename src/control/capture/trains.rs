//! Merged datagrams, taken apart: a capture shows what the other end receives.
//!
//! The kernel hands a train of datagrams through as one packet until its last moment, and a tap sees that. Datagrams of
//! one train are data messages of one session in a row, so each begins with the same eight bytes (type, receiver) and a
//! counter that is one higher: the second such place tells how long they are. By chance that happens once in 2^128.
//!
//! Not here: packets inside the tunnel, which the kernel merges too: segments of TCP are shown as they pass, as tcpdump
//! does.

use crate::dataplane::checksum::{Sum, never_zero};
use crate::proto::ip;
use crate::proto::transport::OVERHEAD;

/// Calls `each` with every datagram of an IP packet with UDP in it, each with headers of its own. A packet that is no
/// train is given as it is.
pub fn for_each_datagram(packet: &[u8], scratch: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
    let Some((header_len, segment_len)) = train(packet) else { return each(packet) };
    let (headers, payload) = packet.split_at(header_len);
    for segment in payload.chunks(segment_len) {
        scratch.clear();
        scratch.extend_from_slice(headers);
        scratch.extend_from_slice(segment);
        write_lengths(scratch, header_len);
        each(scratch);
    }
}

/// Returns where the payload of a train begins, and how long its datagrams are.
fn train(packet: &[u8]) -> Option<(usize, usize)> {
    let header_len = UDP_LEN
        + match packet.first()? >> 4 {
            4 => 4 * usize::from(packet[0] & 15),
            _ => IPV6_LEN,
        };
    let payload = packet.get(header_len..)?;
    let (start, counter) = message(payload)?;
    let follows = |at: &usize| {
        let next = payload.get(*at..).and_then(message);
        next.is_some_and(|(other, other_counter)| other == start && other_counter == counter.wrapping_add(1))
    };
    (OVERHEAD..payload.len()).find(follows).map(|segment_len| (header_len, segment_len))
}

/// Returns the first eight bytes of a data message, and its counter.
fn message(payload: &[u8]) -> Option<([u8; 8], u64)> {
    let start = *payload.first_chunk::<8>()?;
    let counter = u64::from_le_bytes(*payload.get(8..)?.first_chunk()?);
    (start[..4] == [4, 0, 0, 0]).then_some((start, counter))
}

/// Makes the headers those of this datagram alone.
fn write_lengths(packet: &mut [u8], header_len: usize) {
    let (len, udp_start) = (packet.len(), header_len - UDP_LEN);
    let udp_len = ((len - udp_start) as u16).to_be_bytes();
    packet[udp_start + 4..][..2].copy_from_slice(&udp_len);
    packet[udp_start + 6..][..2].fill(0);
    let addresses = if packet[0] >> 4 == 4 {
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[10..12].fill(0);
        let checksum = Sum::of(&packet[..udp_start]).checksum();
        packet[10..12].copy_from_slice(&checksum);
        12..20
    } else {
        packet[4..6].copy_from_slice(&udp_len);
        8..40
    };
    let pseudo = Sum::pseudo_header(&packet[addresses], ip::UDP, len - udp_start);
    let checksum = never_zero((pseudo + Sum::of(&packet[udp_start..])).checksum());
    packet[udp_start + 6..][..2].copy_from_slice(&checksum);
}

const UDP_LEN: usize = 8;
const IPV6_LEN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of data messages of so many bytes, with counters from 7 on.
    fn packet(v6: bool, lens: &[usize]) -> Vec<u8> {
        let mut packet = if v6 { vec![0x60; 40] } else { vec![0x45; 20] };
        packet.extend([1, 2, 3, 4, 0, 0, 0, 0]);
        for (counter, len) in (7_u64..).zip(lens) {
            let mut message = vec![0x55; *len];
            message[..8].copy_from_slice(&[4, 0, 0, 0, 9, 9, 9, 9]);
            message[8..16].copy_from_slice(&counter.to_le_bytes());
            packet.extend(message);
        }
        packet
    }

    fn datagrams(packet: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for_each_datagram(packet, &mut Vec::new(), |datagram| found.push(datagram.to_vec()));
        found
    }

    #[test]
    fn a_train_is_taken_apart_and_each_datagram_has_right_headers() {
        for (v6, header_len) in [(false, 28), (true, 48)] {
            let found = datagrams(&packet(v6, &[96, 96, 32]));
            let lens: Vec<_> = found.iter().map(|datagram| datagram.len() - header_len).collect();
            assert_eq!(lens, [96, 96, 32]);
            for (counter, datagram) in (7..).zip(&found) {
                assert_eq!(datagram[header_len + 8], counter);
                let udp = &datagram[header_len - 8..];
                assert_eq!(udp[4..6], (udp.len() as u16).to_be_bytes());
                let addresses = if v6 { &datagram[8..40] } else { &datagram[12..20] };
                assert!((Sum::pseudo_header(addresses, 17, udp.len()) + Sum::of(udp)).is_intact());
                assert!(v6 || Sum::of(&datagram[..20]).is_intact());
            }
        }
    }

    #[test]
    fn what_is_no_train_is_left_as_it_is() {
        let single = packet(false, &[1440]);
        assert_eq!(datagrams(&single), std::slice::from_ref(&single));
        let mut other = packet(false, &[96, 96]);
        other[28] = 1;
        assert_eq!(datagrams(&other), std::slice::from_ref(&other));
        for len in 0..single.len() {
            assert_eq!(datagrams(&single[..len]), [single[..len].to_vec()]);
        }
    }
}
