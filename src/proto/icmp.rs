//! "Unreachable" to local senders of packets that no peer will carry. SKELETON: helper fills in (protocol.md 9.3).

/// Longest message `unreachable` makes: 1280 bytes for IPv6.
pub const MAX_LEN: usize = 1280;

/// Writes ICMPv4 host unreachable (3/1) or ICMPv6 address unreachable (1/3) about `packet` into `out`; returns its
/// length, or `None` where none may be sent: ICMP errors, multicast or broadcast destinations, non-first fragments,
/// unspecified or multicast sources, not IP.
pub fn unreachable(packet: &[u8], out: &mut [u8; MAX_LEN]) -> Option<usize> {
    let _ = (packet, out);
    unimplemented!()
}
