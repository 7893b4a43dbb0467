use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A TCP or UDP packet to be made, with finished checksums.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    /// Last byte of the source address and of the source port.
    pub(crate) flow: u8,
    pub(crate) dst_port: u16,
    pub(crate) ecn: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const ACK: u8 = 0x10;

impl Sample {
    pub(crate) fn tcp(v6: bool, payload: Vec<u8>) -> Self {
        Self {
            v6,
            udp: false,
            flow: 1,
            dst_port: 443,
            ecn: 0,
            id: 0xfffe,
            dont_fragment: true,
            seq: 0xffff_ff00,
            flags: ACK,
            options: Vec::new(),
            payload,
        }
    }

    pub(crate) fn udp(v6: bool, payload: Vec<u8>) -> Self {
        Self { udp: true, ..Self::tcp(v6, payload) }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut transport = vec![0x9c, self.flow];
        transport.extend(self.dst_port.to_be_bytes());
        let checksum_at = if self.udp {
            transport.extend((UDP_LEN as u16 + self.payload.len() as u16).to_be_bytes());
            transport.extend([0, 0]);
            6
        } else {
            transport.extend(self.seq.to_be_bytes());
            transport.extend(0x0102_0304u32.to_be_bytes());
            transport.extend([(5 + self.options.len() as u8 / 4) << 4, self.flags, 0x20, 0, 0, 0, 0, 0]);
            transport.extend(&self.options);
            16
        };
        transport.extend(&self.payload);
        let len = transport.len() as u16;
        let protocol = if self.udp { UDP } else { TCP };
        let mut packet = if self.v6 {
            let mut header = vec![0x60, self.ecn << 4, 0, 5];
            header.extend(len.to_be_bytes());
            header.extend([protocol, 64]);
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.flow]);
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee]);
            header
        } else {
            let mut header = vec![0x45, self.ecn];
            header.extend((20 + len).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            header.extend([
                u8::from(self.dont_fragment) << 6,
                0,
                64,
                protocol,
                0,
                0,
                10,
                0,
                0,
                self.flow,
                10,
                0,
                0,
                0xee,
            ]);
            let checksum = naive_checksum(&header);
            header[10..12].copy_from_slice(&checksum);
            header
        };
        let addresses = packet.len() - if self.v6 { 32 } else { 8 };
        let mut summed = packet[addresses..].to_vec();
        summed.extend([0, protocol]);
        summed.extend(len.to_be_bytes());
        summed.extend(&transport);
        let checksum = naive_checksum(&summed);
        let checksum = if self.udp && checksum == [0; 2] { [0xff; 2] } else { checksum };
        transport[checksum_at..checksum_at + 2].copy_from_slice(&checksum);
        packet.extend(transport);
        packet
    }

    pub(crate) fn header_len(&self) -> usize {
        let ip = if self.v6 { V6_LEN } else { V4_LEN };
        ip + if self.udp { UDP_LEN } else { TCP_LEN + self.options.len() }
    }

    pub(crate) fn offload(&self, segment_len: u16) -> Offload {
        let segmentation = match (self.udp, self.v6) {
            (true, _) => Segmentation::Udp,
            (false, true) => Segmentation::Tcp6,
            (false, false) => Segmentation::Tcp4,
        };
        let start = if self.v6 { 40 } else { 20 };
        Offload {
            segmentation: Some(segmentation),
            segment_len,
            header_len: self.header_len() as u16,
            checksum: Some(PartialChecksum { start, offset: if self.udp { 6 } else { 16 } }),
        }
    }

    /// The packets this one stands for, by the obvious way: build each anew.
    fn split(&self, segment_len: usize) -> Vec<Vec<u8>> {
        let count = self.payload.len().div_ceil(segment_len).max(1);
        let payload = |n: usize| self.payload.iter().copied().skip(n * segment_len).take(segment_len).collect();
        let segment = |n: usize| Self {
            id: self.id.wrapping_add(n as u16),
            seq: self.seq.wrapping_add((n * segment_len) as u32),
            flags: self.flags & if n == 0 { !0 } else { !CWR } & if n + 1 == count { !0 } else { !(FIN | PSH) },
            payload: payload(n),
            ..self.clone()
        };
        (0..count).map(|n| segment(n).build()).collect()
    }
}

/// The packets that `packet` stands for.
pub(crate) fn segments(packet: &[u8], offload: Offload) -> Result<Vec<Vec<u8>>, BadOffload> {
    let segments = Segments::new(packet, offload)?;
    let segment = |n| {
        // What was in the buffer before must not show.
        let mut out = vec![0xaa; segments.len(n)];
        segments.write(n, &mut out);
        out
    };
    Ok((0..segments.count()).map(segment).collect())
}

#[test]
fn a_tcp_packet_becomes_its_segments() {
    for v6 in [false, true] {
        let sample = Sample {
            flags: ACK | FIN | PSH | CWR,
            options: vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            ..Sample::tcp(v6, (0..250).collect())
        };
        let parts = segments(&sample.build(), sample.offload(100)).unwrap();
        assert_eq!(parts, sample.split(100));
        let flags: Vec<_> = parts.iter().map(|part| part[if v6 { 53 } else { 33 }]).collect();
        assert_eq!(flags, [ACK | CWR, ACK, ACK | FIN | PSH]);
        assert_eq!(parts.iter().map(|part| part.len() - sample.header_len()).collect::<Vec<_>>(), [100, 100, 50]);
    }
}

#[test]
fn a_udp_packet_becomes_datagrams() {
    for v6 in [false, true] {
        let sample = Sample::udp(v6, (0..200).collect());
        let parts = segments(&sample.build(), sample.offload(100)).unwrap();
        assert_eq!(parts, sample.split(100));
        assert_eq!(parts.len(), 2);
    }
}

#[test]
fn a_datagram_whose_checksum_is_zero_does_not_say_it_has_none() {
    for v6 in [false, true] {
        let field = if v6 { 46..48 } else { 26..28 };
        let mut sample = Sample::udp(v6, vec![0; 200]);
        let checksum = sample.split(100)[0][field.clone()].to_vec();
        // What was the complement of the sum, now added to it.
        sample.payload[..2].copy_from_slice(&checksum);
        let parts = segments(&sample.build(), sample.offload(100)).unwrap();
        assert_eq!(parts[0][field], [0xff; 2]);
    }
}

#[test]
fn a_packet_without_payload_is_one_segment() {
    let sample = Sample::tcp(false, Vec::new());
    assert_eq!(segments(&sample.build(), sample.offload(100)), Ok(vec![sample.build()]));
}

#[test]
fn without_segmentation_the_packet_goes_out_with_its_checksum_finished() {
    let sample = Sample::tcp(true, vec![3; 77]);
    let whole = sample.build();
    assert_eq!(segments(&whole, Offload::default()), Ok(vec![whole.clone()]));
    let mut partial = whole.clone();
    partial[56..58].copy_from_slice(&Sum::pseudo_header(&whole[8..40], TCP, whole.len() - 40).fold());
    let checksum = Some(PartialChecksum { start: 40, offset: 16 });
    assert_eq!(segments(&partial, Offload { checksum, ..Offload::default() }), Ok(vec![whole]));
}

#[test]
fn ip_options_and_extension_headers_are_repeated() {
    let sample = Sample::tcp(false, (0..150).collect());
    let mut packet = sample.build();
    packet[0] = 0x46;
    packet.splice(20..20, [1, 1, 1, 0]);
    let moved = |offload: Offload, by| Offload {
        header_len: offload.header_len + by,
        checksum: offload.checksum.map(|partial| PartialChecksum { start: partial.start + by, ..partial }),
        ..offload
    };
    let parts = segments(&packet, moved(sample.offload(100), 4)).unwrap();
    for (part, plain) in parts.iter().zip(sample.split(100)) {
        assert_eq!(naive_checksum(&part[..24]), [0; 2]);
        assert_eq!(usize::from(u16::from_be_bytes([part[2], part[3]])), part.len());
        assert_eq!(part[20..24], [1, 1, 1, 0]);
        assert_eq!(part[24..], plain[20..]);
    }

    let sample = Sample::udp(true, (0..150).collect());
    let mut packet = sample.build();
    packet[6] = DESTINATION;
    packet.splice(40..40, [UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let parts = segments(&packet, moved(sample.offload(100), 16)).unwrap();
    assert_eq!(parts.len(), 2);
    for (part, plain) in parts.iter().zip(sample.split(100)) {
        assert_eq!(usize::from(u16::from_be_bytes([part[4], part[5]])) + 40, part.len());
        assert_eq!(part[56..], plain[40..]);
    }
}

#[test]
fn the_hint_of_the_kernel_may_include_payload() {
    let sample = Sample::tcp(false, (0..250).collect());
    let offload = Offload { header_len: 120, ..sample.offload(100) };
    assert_eq!(segments(&sample.build(), offload), Ok(sample.split(100)));
}

#[test]
fn an_offload_that_does_not_describe_the_packet_is_refused() {
    let sample = Sample::tcp(false, vec![0; 300]);
    let packet = sample.build();
    let good = sample.offload(100);
    let partial = |start, offset| Some(PartialChecksum { start, offset });
    assert!(Segments::new(&packet, good).is_ok());
    for (why, bad) in [
        ("no length", Offload { segment_len: 0, ..good }),
        ("another version", Offload { segmentation: Some(Segmentation::Tcp6), ..good }),
        ("another protocol", Offload { segmentation: Some(Segmentation::Udp), ..good }),
        ("headers too short", Offload { header_len: 39, ..good }),
        ("headers beyond the packet", Offload { header_len: 341, ..good }),
        ("checksum from elsewhere", Offload { checksum: partial(24, 16), ..good }),
        ("checksum to elsewhere", Offload { checksum: partial(20, 6), ..good }),
        ("field beyond the packet", Offload { segmentation: None, checksum: partial(338, 1), ..good }),
    ] {
        assert_eq!(Segments::new(&packet, bad).err(), Some(BadOffload), "{why}");
    }
    let with = |at: usize, byte: u8| {
        let mut packet = packet.clone();
        packet[at] = byte;
        packet
    };
    for (why, bad) in [
        ("a fragment", with(6, 0x20)),
        ("IP header too short", with(0, 0x44)),
        ("IP header beyond the checksum", with(0, 0x46)),
        ("TCP header too short", with(32, 0x40)),
        ("TCP header beyond the packet", with(32, 0xf0)[..60].to_vec()),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(Segments::new(&bad, good).err(), Some(BadOffload), "{why}");
    }
}

#[test]
fn the_number_of_segments_is_bounded() {
    let sample = Sample::tcp(false, vec![0; 65_000]);
    let packet = sample.build();
    assert!(Segments::new(&packet, sample.offload(1)).is_err());
    assert_eq!(Segments::new(&packet, sample.offload(8)).map(|segments| segments.count()), Ok(8_125));
}

proptest! {
    #[test]
    fn any_packet_is_split_as_by_its_twin(
        v6: bool, udp: bool, id: u16, seq: u32, flags: u8, ecn in 0u8..4,
        options in (0usize..=10).prop_flat_map(|words| vec(any::<u8>(), words * 4)),
        payload in vec(any::<u8>(), 0..3000), segment_len in 1u16..1500,
    ) {
        let tcp = Sample::tcp(v6, payload);
        let sample = Sample { udp, id, seq, flags, ecn, options: if udp { Vec::new() } else { options }, ..tcp };
        prop_assert_eq!(segments(&sample.build(), sample.offload(segment_len)).unwrap(), sample.split(usize::from(segment_len)));
    }

    #[test]
    fn hostile_offloads_and_packets_never_panic(
        v6: bool, udp: bool, payload in vec(any::<u8>(), 0..400), cut in 0usize..400,
        damage in vec((0usize..80, any::<u8>()), 0..4),
        kind in prop_oneof![Just(None), Just(Some(Segmentation::Tcp4)), Just(Some(Segmentation::Tcp6)), Just(Some(Segmentation::Udp))],
        as_described: bool, segment_len: u16, header_len in 0u16..500, partial: Option<(u16, u16)>,
    ) {
        let sample = Sample { udp, ..Sample::tcp(v6, payload) };
        let mut packet = sample.build();
        for (at, byte) in damage {
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
        }
        packet.truncate(packet.len().saturating_sub(cut));
        let checksum = partial.map(|(start, offset)| PartialChecksum { start: start % 450, offset: offset % 450 });
        let hostile = Offload { segmentation: kind, segment_len, header_len, checksum };
        let _ = segments(&packet, if as_described { sample.offload(segment_len) } else { hostile });
    }
}

fn naive_checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}
