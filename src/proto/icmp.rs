//! What local senders are told of their packets: "unreachable" of those that no peer will carry, as the kernel's driver
//! sends it, and "too big" of those that are longer than the path to the peer carries in one piece.
//!
//! Its source is the address that was not reached: an address of the host's own would be discarded as martian when it
//! comes in by the TUN.
//!
//! Not here: the limit of their rate, and the decision that a packet has no peer, its peer no endpoint or its path no
//! room.
//!
//! Sources: RFC 792, RFC 1122 section 3.2.2, RFC 1191 section 4, RFC 1812 sections 4.3.2 and 5.2.7.1 (ICMPv4); RFC 4443
//! sections 2.4, 3.1 and 3.2, RFC 8200 section 5 (ICMPv6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ip;

/// Longest message there is: 1280 bytes for IPv6.
pub const MAX_LEN: usize = 1280;

/// What is told of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Nobody carries it: ICMPv4 host unreachable (3/1), ICMPv6 address unreachable (1/3).
    Unreachable,
    /// It should be no longer than this many bytes: ICMPv4 fragmentation needed (3/4), ICMPv6 packet too big (2/0). IPv6
    /// knows no path below 1280 bytes, so no less is told.
    TooBig(u16),
}

/// Writes `report` about `packet` into `out`; returns its length, or `None` where none may be sent: ICMP errors, multicast
/// or broadcast destinations, non-first fragments, sources that are not one host's, not IP; too big, and it may be
/// fragmented or is not longer than what would be told.
///
/// # Layout
/// IP header (20 or 40 bytes), ICMP header (8: type, code, checksum, then 4 unused, or ending in the length), then as much
/// of `packet` as fits in 576 bytes for IPv4 and 1280 for IPv6 in all.
pub fn write(report: Report, packet: &[u8], out: &mut [u8; MAX_LEN]) -> Option<usize> {
    let header = ip::parse(packet).ok()?;
    let packet = &packet[..header.total_len];
    match (header.src, header.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => write_v4(report, packet, src, dst, out),
        (IpAddr::V6(src), IpAddr::V6(dst)) => write_v6(report, packet, src, dst, out),
        _ => None,
    }
}

fn write_v4(report: Report, packet: &[u8], src: Ipv4Addr, dst: Ipv4Addr, out: &mut [u8; MAX_LEN]) -> Option<usize> {
    let (kind, rest) = match report {
        Report::Unreachable => ([3, 1], 0),
        Report::TooBig(len) => {
            let may_be_fragmented = packet[6] & DONT_FRAGMENT == 0;
            if may_be_fragmented || packet.len() <= usize::from(len) {
                return None;
            }
            ([3, 4], u32::from(len))
        }
    };
    let one_host = !(src.octets()[0] == 0 || src.octets()[0] >= 224 || src.is_loopback());
    let fragment_offset = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
    if !one_host || dst.is_multicast() || dst.is_broadcast() || fragment_offset != 0 {
        return None;
    }
    if packet[9] == ICMP_V4 {
        let icmp_type = *packet.get(usize::from(packet[0] & 0xf) * 4)?;
        if ICMP_V4_ERRORS.contains(&icmp_type) {
            return None;
        }
    }
    let len = V4_LEN + ICMP_LEN + packet.len().min(576 - V4_LEN - ICMP_LEN);
    let out = &mut out[..len];
    out.fill(0);
    out[0] = 0x45;
    // Precedence "internetwork control", as RFC 1812 wants of errors.
    out[1] = 0xc0;
    out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    // Don't fragment: then the identification may be zero (RFC 6864).
    out[6] = DONT_FRAGMENT;
    out[8] = HOP_LIMIT;
    out[9] = ICMP_V4;
    out[12..16].copy_from_slice(&dst.octets());
    out[16..20].copy_from_slice(&src.octets());
    let header_checksum = checksum(0, &out[..V4_LEN]);
    out[10..12].copy_from_slice(&header_checksum.to_be_bytes());
    write_message(&mut out[V4_LEN..], kind, rest, packet, 0);
    Some(len)
}

fn write_v6(report: Report, packet: &[u8], src: Ipv6Addr, dst: Ipv6Addr, out: &mut [u8; MAX_LEN]) -> Option<usize> {
    let (kind, rest) = match report {
        Report::Unreachable => ([1, 3], 0),
        Report::TooBig(len) => {
            let len = len.max(V6_LEAST_MTU);
            if packet.len() <= usize::from(len) {
                return None;
            }
            ([2, 0], u32::from(len))
        }
    };
    if src.is_unspecified() || src.is_multicast() || src.is_loopback() || dst.is_multicast() || !may_answer_v6(packet) {
        return None;
    }
    let len = V6_LEN + ICMP_LEN + packet.len().min(MAX_LEN - V6_LEN - ICMP_LEN);
    let out = &mut out[..len];
    out.fill(0);
    out[0] = 0x60;
    let payload_len = (len - V6_LEN) as u16;
    out[4..6].copy_from_slice(&payload_len.to_be_bytes());
    out[6] = ICMP_V6;
    out[7] = HOP_LIMIT;
    out[8..24].copy_from_slice(&dst.octets());
    out[24..40].copy_from_slice(&src.octets());
    // The pseudo-header: both addresses, the length, the protocol.
    let pseudo = sum(u32::from(payload_len) + u32::from(ICMP_V6), &out[8..40]);
    write_message(&mut out[V6_LEN..], kind, rest, packet, pseudo);
    Some(len)
}

/// Follows the extension headers: false for non-first fragments, for ICMPv6 errors and redirects, and where the end of
/// the packet hides which it is.
fn may_answer_v6(packet: &[u8]) -> bool {
    let (mut next, mut at) = (packet[6], V6_LEN);
    // Each round moves on by 8 bytes or more, or returns.
    loop {
        match next {
            ICMP_V6 => return packet.get(at).is_some_and(|icmp_type| *icmp_type >= 128 && *icmp_type != REDIRECT),
            HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT => {
                let Some(extension) = packet.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { return false };
                if next == FRAGMENT && u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0 {
                    return false;
                }
                at += if next == FRAGMENT { 8 } else { (usize::from(extension[1]) + 1) * 8 };
                next = extension[0];
            }
            _ => return true,
        }
    }
}

/// Fills `out` with the ICMP header, `rest` in its second word, and the beginning of `packet`.
fn write_message(out: &mut [u8], type_and_code: [u8; 2], rest: u32, packet: &[u8], pseudo: u32) {
    let quoted = out.len() - ICMP_LEN;
    out[..2].copy_from_slice(&type_and_code);
    out[4..ICMP_LEN].copy_from_slice(&rest.to_be_bytes());
    out[ICMP_LEN..].copy_from_slice(&packet[..quoted]);
    let checksum = checksum(pseudo, out);
    out[2..4].copy_from_slice(&checksum.to_be_bytes());
}

fn checksum(initial: u32, bytes: &[u8]) -> u16 {
    let sum = sum(initial, bytes);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Adds 16-bit words, the plain way: a few messages a second. [`MAX_LEN`] bytes cannot overflow 32 bits.
fn sum(initial: u32, bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    initial + words.sum::<u32>()
}

const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
const ICMP_LEN: usize = 8;
const HOP_LIMIT: u8 = 64;
/// The flag, in the first byte of flags and fragment offset.
const DONT_FRAGMENT: u8 = 0x40;
/// RFC 8200 section 5.
const V6_LEAST_MTU: u16 = 1280;

const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
/// Unreachable, source quench, redirect, time exceeded, parameter problem.
const ICMP_V4_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// No error by its number, but RFC 4443 section 2.4 (e.2) lists it with them.
const REDIRECT: u8 = 137;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

#[cfg(test)]
mod tests;
