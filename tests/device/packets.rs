//! Inner packets, made and looked at without any help of the code under test.

use std::net::IpAddr;

use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::platform::fake::Written;

/// The two ends of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

impl Flow {
    /// A flow between two addresses, given as text.
    pub(crate) fn new(src: &str, dst: &str) -> Self {
        let [src, dst] = [src, dst].map(|text| text.parse().expect("an address"));
        Self { src, dst, src_port: 4_000, dst_port: 5_000 }
    }

    /// An ICMP or ICMPv6 echo request (or reply) with `number` as its payload.
    pub(crate) fn echo(self, reply: bool, number: u64) -> Vec<u8> {
        let kind = match (self.src.is_ipv4(), reply) {
            (true, false) => 8,
            (true, true) => 0,
            (false, false) => 128,
            (false, true) => 129,
        };
        let protocol = if self.src.is_ipv4() { 1 } else { 58 };
        let mut message = vec![kind, 0, 0, 0, 0, 7, 0, 1];
        message.extend_from_slice(&number.to_be_bytes());
        // ICMP over IPv4 has no pseudo header.
        let sum = if self.src.is_ipv4() {
            !sum(&[&message])
        } else {
            !sum(&[&self.pseudo(protocol, message.len()), &message])
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip(protocol, 0, &message)
    }

    /// A UDP datagram.
    pub(crate) fn udp(self, payload: &[u8]) -> Vec<u8> {
        let len = 8 + payload.len();
        let mut message = Vec::with_capacity(len);
        for word in [self.src_port, self.dst_port, len as u16, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(payload);
        let sum = !sum(&[&self.pseudo(17, len), &message]);
        message[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        self.ip(17, 0, &message)
    }

    /// A UDP datagram of `len` payload bytes that begins with `number`. Lengths that differ keep packets unmerged.
    pub(crate) fn numbered(self, number: u64, len: usize) -> Vec<u8> {
        let mut payload = vec![0x5a; len.max(8)];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        self.udp(&payload)
    }

    /// A TCP segment (ACK), its checksum finished.
    pub(crate) fn tcp(self, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut message = self.tcp_message(sequence, payload);
        let sum = !sum(&[&self.pseudo(6, message.len()), &message]);
        message[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ip(6, 0, &message)
    }

    /// A TCP super-packet as a TUN with offloads gives it, with what is to be said of it.
    pub(crate) fn tcp_super(self, sequence: u32, payload: &[u8], segment_len: u16) -> (Vec<u8>, Offload) {
        let mut message = self.tcp_message(sequence, payload);
        let partial = sum(&[&self.pseudo(6, message.len())]);
        message[16..18].copy_from_slice(&partial.to_be_bytes());
        let start = if self.src.is_ipv4() { 20 } else { 40 };
        let offload = Offload {
            segmentation: Some(if self.src.is_ipv4() { Segmentation::Tcp4 } else { Segmentation::Tcp6 }),
            segment_len,
            header_len: start + 20,
            checksum: Some(PartialChecksum { start, offset: 16 }),
        };
        (self.ip(6, 0, &message), offload)
    }

    fn tcp_message(self, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut message = [self.src_port.to_be_bytes(), self.dst_port.to_be_bytes()].concat();
        message.extend_from_slice(&sequence.to_be_bytes());
        message.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
        message.extend_from_slice(payload);
        message
    }

    /// An IP packet of any protocol, with the DS byte `ds`.
    pub(crate) fn ip(self, protocol: u8, ds: u8, message: &[u8]) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let len = (20 + message.len()) as u16;
                let mut header = vec![0x45, ds, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                header[2..4].copy_from_slice(&len.to_be_bytes());
                header.extend([src.octets(), dst.octets()].concat());
                let sum = !sum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                [&header, message].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut header = vec![0x60 | ds >> 4, ds << 4, 0, 0, 0, 0, protocol, 64];
                header[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
                header.extend([src.octets(), dst.octets()].concat());
                [&header, message].concat()
            }
            _ => panic!("a flow has one family"),
        }
    }

    fn pseudo(self, protocol: u8, len: usize) -> Vec<u8> {
        let mut pseudo = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
            _ => panic!("a flow has one family"),
        };
        pseudo.extend_from_slice(&[0, protocol]);
        pseudo.extend_from_slice(&(len as u16).to_be_bytes());
        pseudo
    }
}

/// The transport payloads of what was written to a TUN, a merged packet's one by one.
pub(crate) fn payloads(written: &[Written]) -> Vec<Vec<u8>> {
    written
        .iter()
        .flat_map(|write| {
            let (header_len, segment_len) = match write.offload.segmentation {
                Some(_) => (usize::from(write.offload.header_len), usize::from(write.offload.segment_len)),
                None => (header_len(&write.bytes), usize::MAX),
            };
            write.bytes[header_len..].chunks(segment_len).map(<[u8]>::to_vec)
        })
        .collect()
}

/// An ICMP or ICMPv6 "unreachable".
pub(crate) fn is_unreachable(written: &Written) -> bool {
    let bytes = &written.bytes;
    match bytes[0] >> 4 {
        4 => bytes[9] == 1 && bytes[20] == 3,
        _ => bytes[6] == 58 && bytes[40] == 1,
    }
}

/// The numbers of [`Flow::numbered`] and [`Flow::echo`] packets, in the order they were written.
/// Messages that say "unreachable" have none.
pub(crate) fn numbers(written: &[Written]) -> Vec<u64> {
    let written: Vec<_> = written.iter().filter(|written| !is_unreachable(written)).cloned().collect();
    payloads(&written)
        .iter()
        .map(|payload| u64::from_be_bytes(*payload.first_chunk().expect("a payload begins with a number")))
        .collect()
}

fn header_len(packet: &[u8]) -> usize {
    let (ip, protocol) = if packet[0] >> 4 == 4 { (20, packet[9]) } else { (40, packet[6]) };
    ip + if protocol == 6 { usize::from(packet[ip + 12] >> 4) * 4 } else { 8 }
}

/// The ones' complement sum of RFC 1071, not complemented; all parts but the last have an even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|word| u32::from(word[0]) * 256 + u32::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
