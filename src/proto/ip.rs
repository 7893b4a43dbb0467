//! Reading inner IP headers: version, length, addresses; and ECN across the tunnel. SKELETON: helper fills in.

use std::net::IpAddr;

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

/// Parses the fixed header (7.1 step 1, 7.4 steps 12 and 13). Extension headers and options are not looked at.
pub fn parse(packet: &[u8]) -> Result<IpHeader, IpError> {
    let _ = packet;
    unimplemented!()
}

/// The outer ECN bits for an inner packet with `inner` (11.5): copied, but CE becomes ECT(0).
pub fn encapsulate_ecn(inner: u8) -> u8 {
    let _ = inner;
    unimplemented!()
}

/// Applies outer ECN bits to a delivered packet (11.5 table), mending the IPv4 header checksum incrementally.
pub fn decapsulate_ecn(outer: u8, packet: &mut [u8]) {
    let _ = (outer, packet);
    unimplemented!()
}

/// Returns the source and destination port if `packet` is an unfragmented UDP datagram (IPv6: without extension
/// headers). For the routing-loop guard, which looks for datagrams this program sent.
pub fn udp_ports(packet: &[u8]) -> Option<(u16, u16)> {
    let _ = packet;
    unimplemented!()
}
