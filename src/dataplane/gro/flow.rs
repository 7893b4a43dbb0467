//! What the coalescer sees in a packet: its flow, and whether it can be merged with others of it.
//!
//! Not here: the runs of packets (see the parent module).

use super::{Classes, Sum};

/// How far a packet can be told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    /// It is of no flow that is ever merged: it neither joins nor ends a run.
    Alone,
    /// Its flow cannot be seen: it may be any.
    Hidden,
    /// TCP or UDP.
    Flow(Flow),
}

/// A TCP or UDP packet without IP options or extension headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    protocol: u8,
    /// Offset of the transport header: [`V4_LEN`] or [`V6_LEN`].
    start: u8,
    /// Offset of the payload, if `mergeable`.
    pub(super) header_len: u8,
    /// Whether it can be part of a run; if not, it ends its flow's.
    pub(super) mergeable: bool,
    /// Whether nothing may follow it in a run.
    pub(super) ends_run: bool,
    /// Bytes of payload, if `mergeable`: not zero.
    pub(super) payload_len: u16,
    /// TCP sequence number; 0 for UDP.
    pub(super) seq: u32,
}

/// Looks at a packet that is trimmed to its IP length.
#[inline]
pub(super) fn look(packet: &[u8], classes: Classes) -> Sight {
    let (start, protocol, tcp, udp) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= V4_LEN => {
            let fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
            let total_len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if packet[0] != 0x45 || fragment || total_len != packet.len() {
                return Sight::Hidden;
            }
            (V4_LEN, packet[9], classes.tcp4, classes.udp4)
        }
        Some(6) if packet.len() >= V6_LEN => {
            let payload_len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            if EXTENSIONS.contains(&packet[6]) || payload_len + V6_LEN != packet.len() {
                return Sight::Hidden;
            }
            (V6_LEN, packet[6], classes.tcp6, classes.udp6)
        }
        _ => return Sight::Hidden,
    };
    let transport = &packet[start..];
    match protocol {
        TCP if tcp => look_tcp(start, transport),
        UDP if udp => look_udp(start, transport),
        // A class that is off has no runs.
        _ => Sight::Alone,
    }
}

fn look_tcp(start: usize, tcp: &[u8]) -> Sight {
    let Some(header) = tcp.first_chunk::<TCP_LEN>() else { return Sight::Hidden };
    let tcp_len = usize::from(header[12] >> 4) * 4;
    let flags = header[13];
    // Only ACK, with or without PSH and ECE: SYN, FIN, RST, URG and CWR say something of their own segment alone.
    let mergeable = flags & !(PSH | ECE) == ACK && tcp_len >= TCP_LEN && tcp.len() > tcp_len;
    Sight::Flow(Flow {
        protocol: TCP,
        start: start as u8,
        header_len: (start + tcp_len) as u8,
        mergeable,
        ends_run: flags & PSH != 0,
        payload_len: if mergeable { (tcp.len() - tcp_len) as u16 } else { 0 },
        seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
    })
}

fn look_udp(start: usize, udp: &[u8]) -> Sight {
    let Some(header) = udp.first_chunk::<UDP_LEN>() else { return Sight::Hidden };
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if [port(0), port(2)].iter().any(|port| TUNNEL_PORTS.contains(port)) {
        return Sight::Alone;
    }
    let checksummed = header[6..8] != [0; 2];
    let mergeable = checksummed && usize::from(port(4)) == udp.len() && udp.len() > UDP_LEN;
    Sight::Flow(Flow {
        protocol: UDP,
        start: start as u8,
        header_len: (start + UDP_LEN) as u8,
        mergeable,
        ends_run: false,
        payload_len: if mergeable { (udp.len() - UDP_LEN) as u16 } else { 0 },
        seq: 0,
    })
}

impl Flow {
    /// Tells whether `other`, a packet of some flow, has the version, protocol, addresses and ports of `packet`.
    #[inline]
    pub(super) fn is_of(&self, other: &[u8], packet: &[u8]) -> bool {
        let known = self.addresses_and_ports();
        let protocol = if self.is_v4() { 9 } else { 6 };
        packet[0] >> 4 == other[0] >> 4 && packet[protocol] == other[protocol] && packet[known.clone()] == other[known]
    }

    /// Returns a hash of what [`Flow::is_of`] compares. It needs no secret: the worst that collisions do is to make a
    /// batch compare each of its packets with each.
    pub(super) fn hash(&self, packet: &[u8]) -> u32 {
        let (words, _) = packet[self.addresses_and_ports()].as_chunks::<4>();
        let mixed = words.iter().fold(u64::from(self.protocol), |hash, word| {
            (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        });
        (mixed ^ mixed >> 32) as u32
    }

    /// Tells whether `packet`, of the flow of `first`, has the headers of the segment `n` places after it, in all that
    /// [`Flow`] does not hold: sequence numbers, lengths and checksums are not looked at.
    pub(super) fn follows(&self, n: u16, packet: &[u8], first: &[u8]) -> bool {
        let (start, end) = (usize::from(self.start), usize::from(self.header_len));
        if first.len() < end {
            return false;
        }
        let same = |range: std::ops::Range<usize>| packet[range.clone()] == first[range];
        let ip = if self.is_v4() {
            let id = |packet: &[u8]| u16::from_be_bytes([packet[4], packet[5]]);
            // With "don't fragment" the identification means nothing (RFC 6864), and many send zero.
            let in_turn = packet[6] & DONT_FRAGMENT != 0 || id(packet) == id(first).wrapping_add(n);
            same(1..2) && same(6..9) && in_turn
        } else {
            same(0..4) && same(7..8)
        };
        // TCP: acknowledgement, data offset; flags; window; urgent pointer and options.
        let transport = !self.is_tcp()
            || (same(start + 8..start + 13)
                && (packet[start + 13] ^ first[start + 13]) & !PSH == 0
                && same(start + 14..start + 16)
                && same(start + 18..end));
        ip && transport
    }

    /// Verifies the checksums of a packet of this flow.
    pub(super) fn is_intact(&self, packet: &[u8]) -> bool {
        let start = usize::from(self.start);
        let (header, transport) = packet.split_at(start);
        let addresses = if self.is_v4() { &header[12..20] } else { &header[8..40] };
        let sum = Sum::pseudo_header(addresses, self.protocol, transport.len()) + Sum::of(transport);
        sum.is_intact() && (!self.is_v4() || Sum::of(header).is_intact())
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// Returns how many packets of this flow may be merged.
    pub(super) fn max_count(&self) -> u16 {
        if self.is_tcp() { u16::MAX } else { MAX_DATAGRAMS }
    }

    fn is_v4(&self) -> bool {
        usize::from(self.start) == V4_LEN
    }

    /// Addresses end where the transport header begins, with the ports.
    fn addresses_and_ports(&self) -> std::ops::Range<usize> {
        if self.is_v4() { 12..24 } else { 8..44 }
    }
}

pub(super) const V4_LEN: usize = 20;
pub(super) const V6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
/// Headers that stand before a transport header: hop-by-hop, routing, fragment, authentication, destination options,
/// mobility, host identity, shim6.
const EXTENSIONS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

pub(super) const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;
const DONT_FRAGMENT: u8 = 0x40;

/// VXLAN and Geneve: kernels before 6.8.5 break merged datagrams of theirs.
const TUNNEL_PORTS: [u16; 2] = [4789, 6081];
/// What Linux merges itself (UDP_GRO_CNT_MAX).
const MAX_DATAGRAMS: u16 = 64;
