//! Reading inner IP headers: version, length, addresses; and ECN across the tunnel.
//!
//! Not here: transport headers, IPv4 options, IPv6 extension headers and checksums of packets, which are the business
//! of the hosts.
//!
//! Sources: RFC 791, RFC 8200 (headers); RFC 6040 (ECN in tunnels); RFC 1624 (changing a checksummed field).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the data path must know of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Total length by the header: v4 total length, v6 payload length + 40 (computed in more than 16 bits).
    pub total_len: usize,
    /// The two ECN bits of the header.
    pub ecn: u8,
}

/// Why bytes are not an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpError {
    /// Version is not 4 or 6, or shorter than the fixed header of 20 or 40 bytes (frame error).
    NotIp,
    /// v4 total length below 20, or the header's length exceeds the bytes there are (length error).
    BadLength,
}

/// Parses the fixed header. Extension headers and options are not looked at. More bytes than the header's length are
/// no error: they are the tunnel's padding.
///
/// # Errors
/// [`IpError::NotIp`] before [`IpError::BadLength`], as each is counted under another name.
#[inline]
pub fn parse(packet: &[u8]) -> Result<IpHeader, IpError> {
    let header = match packet.first().map(|byte| byte >> 4) {
        Some(4) => parse_v4(packet.first_chunk().ok_or(IpError::NotIp)?)?,
        Some(6) => parse_v6(packet.first_chunk().ok_or(IpError::NotIp)?),
        _ => return Err(IpError::NotIp),
    };
    if header.total_len > packet.len() { Err(IpError::BadLength) } else { Ok(header) }
}

fn parse_v4(header: &[u8; V4_LEN]) -> Result<IpHeader, IpError> {
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total_len < V4_LEN {
        return Err(IpError::BadLength);
    }
    let src = Ipv4Addr::new(header[12], header[13], header[14], header[15]).into();
    let dst = Ipv4Addr::new(header[16], header[17], header[18], header[19]).into();
    Ok(IpHeader { src, dst, total_len, ecn: header[1] & CE })
}

fn parse_v6(header: &[u8; V6_LEN]) -> IpHeader {
    let [_, ds, _, _, len_high, len_low, _, _, addresses @ ..] = header;
    let address =
        |at: usize| Ipv6Addr::from_bits(addresses[at..at + 16].iter().fold(0, |a, b| a << 8 | u128::from(*b)));
    let total_len = usize::from(u16::from_be_bytes([*len_high, *len_low])) + V6_LEN;
    IpHeader { src: address(0).into(), dst: address(16).into(), total_len, ecn: ds >> 4 & CE }
}

/// Returns the outer ECN bits for an inner packet with `inner`: copied, but CE becomes ECT(0), so that congestion met
/// before the tunnel is not reported as met within it.
///
/// Source: RFC 6040, section 4.1.
#[inline]
pub fn encapsulate_ecn(inner: u8) -> u8 {
    if inner & CE == CE { ECT_0 } else { inner & CE }
}

/// Applies the ECN bits of the outer header to a delivered packet, mending the IPv4 header checksum incrementally. What
/// is no IP packet is left as it is.
///
/// Congestion met within the tunnel reaches the receiver, unless the inner packet says Not-ECT: RFC 6040 would drop it
/// then, but the kernel's driver delivers it unchanged, and so do we.
///
/// Source: RFC 6040, section 4.2.
#[inline]
pub fn decapsulate_ecn(outer: u8, packet: &mut [u8]) {
    let outer = outer & CE;
    // Neither can change anything, whatever the inner bits are.
    if outer == NOT_ECT || outer == ECT_0 {
        return;
    }
    if let Some(header) = packet.first_chunk_mut::<V4_LEN>().filter(|header| header[0] >> 4 == 4) {
        let ecn = combine(outer, header[1] & CE);
        let before = u16::from_be_bytes([header[0], header[1]]);
        let after = before & !u16::from(CE) | u16::from(ecn);
        let checksum = mend(u16::from_be_bytes([header[10], header[11]]), before, after);
        header[..2].copy_from_slice(&after.to_be_bytes());
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else if let Some(header) = packet.first_chunk_mut::<V6_LEN>().filter(|header| header[0] >> 4 == 6) {
        let ecn = combine(outer, header[1] >> 4 & CE);
        header[1] = header[1] & !(CE << 4) | ecn << 4;
    }
}

/// Returns the source and destination port if `packet` is an unfragmented UDP datagram (IPv6: without extension
/// headers). For the routing-loop guard, which looks for datagrams this program sent.
pub fn udp_ports(packet: &[u8]) -> Option<(u16, u16)> {
    let start = match packet.first()? >> 4 {
        4 => {
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            let unfragmented = fragment == 0 && packet.get(9) == Some(&UDP);
            unfragmented.then_some(usize::from(packet[0] & 0xf) * 4)?
        }
        6 => (packet.get(6) == Some(&UDP)).then_some(V6_LEN)?,
        _ => return None,
    };
    let [a, b, c, d] = *packet.get(start..)?.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The table of RFC 6040, figure 4; with Not-ECT in place of its drop.
fn combine(outer: u8, inner: u8) -> u8 {
    match (inner, outer) {
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => inner,
    }
}

/// Returns `checksum` as it must be once a 16-bit word it covers went from `before` to `after`: HC' = ~(~HC + ~m + m').
///
/// The older form HC - ~m - m' is refused: it gives 0xffff where the sum is zero (RFC 1624, section 3).
fn mend(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Protocol number.
pub const UDP: u8 = 17;

const V4_LEN: usize = 20;
const V6_LEN: usize = 40;

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
/// "Congestion experienced"; also the mask of the field.
const CE: u8 = 0b11;

#[cfg(test)]
mod tests;
