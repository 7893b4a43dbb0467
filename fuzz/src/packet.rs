//! TCP and UDP packets, made without any help of the code under test.

use arbitrary::Unstructured;

/// A packet to be built. Lengths and checksums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    /// Which flow: the last byte of the source address.
    pub(crate) flow: u8,
    pub(crate) ds: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    /// TCP options: a multiple of 4 bytes, 40 at most.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    pub(crate) fn read(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let kind = input.arbitrary::<u8>()?;
        let len = match kind >> 6 {
            0 => usize::from(input.arbitrary::<u8>()?),
            1 => 1_400,
            2 => 100,
            _ => input.int_in_range(0..=3_000)?,
        };
        Ok(Self {
            v6: kind & 1 != 0,
            udp: kind & 2 != 0,
            flow: kind >> 2 & 3,
            ds: if kind & 16 != 0 { input.arbitrary()? } else { 0 },
            id: if kind & 32 != 0 { input.arbitrary()? } else { 0 },
            dont_fragment: kind & 32 == 0 || input.arbitrary()?,
            seq: input.arbitrary()?,
            flags: if input.arbitrary::<u8>()? & 3 == 0 { input.arbitrary()? } else { ACK },
            options: vec![1; usize::from(input.arbitrary::<u8>()? % 4) * 4],
            payload: vec![kind; len],
        })
    }

    /// What may follow it in its flow.
    pub(crate) fn next(&self, len: usize, flags: u8) -> Self {
        Self {
            id: self.id.wrapping_add(1),
            seq: self.seq.wrapping_add(self.payload.len() as u32),
            flags,
            payload: vec![self.payload.last().copied().unwrap_or(7).wrapping_add(1); len],
            ..self.clone()
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let protocol = if self.udp { 17 } else { 6 };
        let mut transport = vec![];
        for word in [4_000_u16, 5_000] {
            transport.extend_from_slice(&word.to_be_bytes());
        }
        let checksum_at = if self.udp {
            transport.extend_from_slice(&((8 + self.payload.len()) as u16).to_be_bytes());
            transport.extend_from_slice(&[0, 0]);
            6
        } else {
            transport.extend_from_slice(&self.seq.to_be_bytes());
            let offset = (20 + self.options.len()) as u8 / 4;
            transport.extend_from_slice(&[0, 0, 0, 9, offset << 4, self.flags, 1, 0, 0, 0, 0, 0]);
            transport.extend_from_slice(&self.options);
            16
        };
        transport.extend_from_slice(&self.payload);
        let (src, dst) = self.addresses();
        let len = (transport.len() as u32).to_be_bytes();
        let pseudo = [&src[..], &dst, &len, &[0, 0, 0, protocol], &transport].concat();
        let checksum = match !sum(&pseudo) {
            0 if self.udp => 0xffff,
            checksum => checksum,
        };
        transport[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        [self.ip_header(protocol, transport.len(), &src, &dst), transport].concat()
    }

    fn ip_header(&self, protocol: u8, len: usize, src: &[u8], dst: &[u8]) -> Vec<u8> {
        if self.v6 {
            let mut header = vec![0x60 | self.ds >> 4, self.ds << 4, 0, 0];
            header.extend_from_slice(&(len as u16).to_be_bytes());
            return [&header[..], &[protocol, 64], src, dst].concat();
        }
        let mut header = vec![0x45, self.ds];
        header.extend_from_slice(&((20 + len) as u16).to_be_bytes());
        header.extend_from_slice(&self.id.to_be_bytes());
        header.extend_from_slice(&[if self.dont_fragment { 0x40 } else { 0 }, 0, 64, protocol, 0, 0]);
        header.extend_from_slice(src);
        header.extend_from_slice(dst);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn addresses(&self) -> (Vec<u8>, Vec<u8>) {
        if self.v6 {
            let address = |host| [&[0xfd][..], &[0; 14], &[host]].concat();
            return (address(10 + self.flow), address(2));
        }
        (vec![10, 0, 0, 10 + self.flow], vec![10, 0, 0, 2])
    }
}

pub(crate) const ACK: u8 = 0x10;
pub(crate) const PSH: u8 = 0x08;

/// The ones' complement sum of 16-bit words, the plain way.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)));
    let mut sum: u64 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
