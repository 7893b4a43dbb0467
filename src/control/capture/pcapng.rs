//! Capture files that the usual tools read: pcapng, with a section for each interface and one for keys.
//!
//! # Layout
//! Blocks, each its type, its length, its body in words of 4 bytes, and its length again; little-endian. First the
//! section header; an interface description before the first packet of an interface; enhanced packets, with nanoseconds
//! and a direction; decryption secrets before the packets they open. Packets begin with their IP header (link type 101).
//!
//! A writer of its own: these four kinds of blocks are all it takes, and keys must not stay in anybody's buffers.
//!
//! Source: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.7.

use std::collections::HashMap;
use std::io::{self, Write};

use zeroize::Zeroizing;

use crate::platform::linux::packet_tap::Tapped;

/// A capture file in the making. Each call writes whole blocks at once, so that a file that is cut off can be read up to
/// there.
pub struct Pcapng<W: Write> {
    out: W,
    /// Interfaces that were described, by their number; the value is their place in the file.
    described: HashMap<u32, u32>,
    block: Zeroizing<Vec<u8>>,
}

impl<W: Write> Pcapng<W> {
    /// Begins a file; `program` is noted in it.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(out: W, program: &str) -> io::Result<Self> {
        let mut file = Self { out, described: HashMap::new(), block: Zeroizing::new(Vec::with_capacity(1 << 19)) };
        file.begin(SECTION_HEADER);
        file.words(&[BYTE_ORDER_MAGIC, VERSION, u32::MAX, u32::MAX]);
        file.option(USER_APPLICATION, program.as_bytes());
        file.option(END_OF_OPTIONS, &[]);
        file.end()?;
        Ok(file)
    }

    /// Adds keys, in the text form that the dissector of WireGuard reads.
    ///
    /// # Errors
    /// Those of the file.
    pub fn secrets(&mut self, text: &str) -> io::Result<()> {
        self.begin(DECRYPTION_SECRETS);
        self.words(&[WIREGUARD_KEY_LOG, text.len() as u32]);
        self.padded(text.as_bytes());
        self.end()
    }

    /// Adds a packet; `name` tells the name of its interface, asked for once.
    ///
    /// # Errors
    /// Those of the file.
    pub fn packet(&mut self, tapped: Tapped<'_>, name: impl FnOnce() -> String) -> io::Result<()> {
        let place = match self.described.get(&tapped.interface) {
            Some(place) => *place,
            None => self.describe(tapped.interface, &name())?,
        };
        let nanos = tapped.at.secs.wrapping_mul(1_000_000_000).wrapping_add(tapped.at.nanos.into());
        let len = tapped.bytes.len() as u32;
        self.begin(ENHANCED_PACKET);
        self.words(&[place, (nanos >> 32) as u32, nanos as u32, len, len]);
        self.padded(tapped.bytes);
        self.option(PACKET_FLAGS, &(if tapped.is_outgoing { OUTBOUND } else { INBOUND }).to_le_bytes());
        self.option(END_OF_OPTIONS, &[]);
        self.end()
    }

    /// Returns what was written to, after all of it.
    ///
    /// # Errors
    /// Those of flushing it.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn describe(&mut self, interface: u32, name: &str) -> io::Result<u32> {
        let place = self.described.len() as u32;
        self.begin(INTERFACE_DESCRIPTION);
        self.words(&[LINK_TYPE_RAW, 0]);
        self.option(INTERFACE_NAME, name.as_bytes());
        self.option(TIME_RESOLUTION, &[NANOSECONDS]);
        self.option(END_OF_OPTIONS, &[]);
        self.end()?;
        self.described.insert(interface, place);
        Ok(place)
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        // The length comes when it is known.
        self.words(&[kind, 0]);
    }

    fn end(&mut self) -> io::Result<()> {
        let len = self.block.len() as u32 + 4;
        self.words(&[len]);
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.out.write_all(&self.block)
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.block.extend_from_slice(&word.to_le_bytes()));
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        let len = self.block.len().next_multiple_of(4);
        self.block.resize(len, 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend_from_slice(&code.to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.padded(value);
    }
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// 1.0, then a length that is not known, twice.
const VERSION: u32 = 1;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// "WGKL".
const WIREGUARD_KEY_LOG: u32 = 0x5747_4b4c;
const LINK_TYPE_RAW: u32 = 101;
const END_OF_OPTIONS: u16 = 0;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const NANOSECONDS: u8 = 9;
const PACKET_FLAGS: u16 = 2;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::WallTime;

    fn tapped(interface: u32, bytes: &[u8]) -> Tapped<'_> {
        Tapped { at: WallTime { secs: 5, nanos: 6 }, interface, is_outgoing: true, bytes }
    }

    /// Splits a file into blocks: type and body.
    fn blocks(file: &[u8]) -> Vec<(u32, &[u8])> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
        let (mut rest, mut blocks) = (file, Vec::new());
        while !rest.is_empty() {
            let len = word(&rest[4..]) as usize;
            assert!(len.is_multiple_of(4) && word(&rest[len - 4..]) as usize == len);
            blocks.push((word(rest), &rest[8..len - 4]));
            rest = &rest[len..];
        }
        blocks
    }

    #[test]
    fn the_blocks_are_those_of_the_format() {
        let mut file = Pcapng::new(Vec::new(), "rvpn").expect("a vector takes all");
        file.secrets("K=1\n").expect("written");
        for interface in [7, 9, 7] {
            file.packet(tapped(interface, b"abcde"), || format!("eth{interface}")).expect("written");
        }
        let file = file.finish().expect("nothing to flush");
        let blocks = blocks(&file);
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION_HEADER, DECRYPTION_SECRETS, 1, 6, 1, 6, 6]);
        assert_eq!(file[8..16], [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
        assert_eq!(blocks[1].1, b"LKGW\x04\0\0\0K=1\n");
        assert_eq!(blocks[2].1[..4], [101, 0, 0, 0]);
        assert!(blocks[4].1.windows(4).any(|name| name == b"eth9"));
        let packet = blocks[5].1;
        let nanos: u64 = 5_000_000_006;
        assert_eq!(packet[..4], [1, 0, 0, 0]);
        assert_eq!(packet[4..8], ((nanos >> 32) as u32).to_le_bytes());
        assert_eq!(packet[8..12], (nanos as u32).to_le_bytes());
        assert_eq!(packet[12..28], *b"\x05\0\0\0\x05\0\0\0abcde\0\0\0");
        assert_eq!(packet[28..], [2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(blocks[6].1[..4], [0; 4], "the interface it was first seen on is described once");
    }
}
