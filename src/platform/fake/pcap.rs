//! Writes what passes as a capture file that the usual tools read: a debugging aid for a failing seed.
//!
//! # Layout
//! The classic format with nanoseconds, little-endian. File header, 24 bytes: magic 0xa1b23c4d, version 2.4, two zero
//! words, snapshot length, link type 101 (raw IP). Per packet, 16 bytes: seconds, nanoseconds, length twice; then the
//! packet from its IP header. Datagrams get outer IP and UDP headers made for them.
//!
//! Source: draft-ietf-opsawg-pcap; RFC 791, RFC 8200, RFC 768.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::network::Train;
use crate::proto::time::WallTime;

/// A capture file in the making.
pub struct Capture<W: Write> {
    out: W,
}

impl<W: Write> Capture<W> {
    /// Starts a capture.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(mut out: W) -> io::Result<Self> {
        let words: [u32; 6] = [MAGIC, u32::from_le_bytes([2, 0, 4, 0]), 0, 0, SNAPSHOT_LEN, LINK_TYPE_RAW];
        for word in words {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { out })
    }

    /// Adds a packet, from its IP header.
    ///
    /// # Errors
    /// Those of the file.
    pub fn packet(&mut self, at: WallTime, packet: &[u8]) -> io::Result<()> {
        let len = packet.len() as u32;
        for word in [at.secs as u32, at.nanos, len, len] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(packet)
    }

    /// Adds the datagrams of `train`, each with outer headers.
    ///
    /// # Errors
    /// Those of the file.
    pub fn train(&mut self, at: WallTime, train: &Train) -> io::Result<()> {
        for payload in train.payloads() {
            self.packet(at, &outer_packet(train.from, train.to, train.ds, payload))?;
        }
        Ok(())
    }

    /// Ends the capture and returns the file.
    ///
    /// # Errors
    /// Those of flushing it.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Builds IP and UDP headers in front of `payload`. Ends of different families are shown as IPv6.
fn outer_packet(from: SocketAddr, to: SocketAddr, ds: u8, payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    for word in [from.port(), to.port(), udp_len, 0] {
        udp.extend_from_slice(&word.to_be_bytes());
    }
    udp.extend_from_slice(payload);
    let (mut packet, pseudo) = match (from.ip(), to.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, ds, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0];
            header[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
            header.extend([src.octets(), dst.octets()].concat());
            let sum = internet_checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let pseudo = header[12..20].to_vec();
            (header, pseudo)
        }
        (src, dst) => {
            let mut header = vec![0x60 | ds >> 4, ds << 4, 0, 0, 0, 0, UDP, 64];
            header[4..6].copy_from_slice(&udp_len.to_be_bytes());
            header.extend([src, dst].into_iter().flat_map(|address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            }));
            let pseudo = header[8..40].to_vec();
            (header, pseudo)
        }
    };
    let sum = internet_checksum(&[&pseudo, &[0, UDP], &udp_len.to_be_bytes(), &udp]);
    // Zero would say "no checksum".
    udp[6..8].copy_from_slice(&if sum == 0 { u16::MAX } else { sum }.to_be_bytes());
    packet.extend_from_slice(&udp);
    packet
}

/// RFC 1071 in its plainest form; each part but the last has an even length.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum = words.fold(0_u64, |sum, word| sum + u64::from(word[0]) * 256 + u64::from(*word.get(1).unwrap_or(&0)));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const MAGIC: u32 = 0xa1b2_3c4d;
const SNAPSHOT_LEN: u32 = 0x4_0000;
const LINK_TYPE_RAW: u32 = 101;
/// The protocol number of UDP.
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_has_the_layout_of_the_format() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        capture.packet(WallTime { secs: 3, nanos: 4 }, b"abc").unwrap();
        let file = capture.finish().unwrap();
        assert_eq!(file[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(file[20..24], [101, 0, 0, 0]);
        assert_eq!(file[24..40], [3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&file[40..], b"abc");
    }

    #[test]
    fn outer_headers_have_right_lengths_and_checksums() {
        let ends = [("192.0.2.1:7", "192.0.2.2:9"), ("[2001:db8::1]:7", "[2001:db8::2]:9")];
        for (from, to) in ends.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())) {
            let packet = outer_packet(from, to, 0x88, b"hello");
            let header_len = if from.is_ipv4() { 20 } else { 40 };
            assert_eq!(packet.len(), header_len + 8 + 5);
            if from.is_ipv4() {
                assert_eq!(internet_checksum(&[&packet[..20]]), 0);
                assert_eq!((packet[1], packet[3]), (0x88, 33));
            } else {
                assert_eq!((packet[0], packet[1], packet[5]), (0x68, 0x80, 13));
            }
            // A right checksum makes the sum over pseudo header and datagram all ones.
            let addresses = if from.is_ipv4() { &packet[12..20] } else { &packet[8..40] };
            assert_eq!(internet_checksum(&[addresses, &[0, UDP, 0, 13], &packet[header_len..]]), 0);
        }
    }

    #[test]
    fn every_datagram_of_a_train_is_a_packet() {
        let (from, to) = ("192.0.2.1:7".parse().unwrap(), "192.0.2.2:9".parse().unwrap());
        let train = Train { segment_len: 2, ..Train::datagram(from, to, b"aabbc") };
        let mut capture = Capture::new(Vec::new()).unwrap();
        capture.train(WallTime::default(), &train).unwrap();
        assert_eq!(capture.finish().unwrap().len(), 24 + 3 * (16 + 28) + 5);
    }
}
