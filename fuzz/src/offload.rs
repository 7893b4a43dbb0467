//! Segmentation and its opposite: what is merged comes apart as it was, and a hostile header hurts nobody.

use arbitrary::Unstructured;
use rvpn::dataplane::gro::{Classes, Coalescer, Group, MAX_HEADER_LEN};
use rvpn::dataplane::gso::{MAX_SEGMENTS, Segments};
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::proto::ip;

use super::packet::{ACK, PSH, Packet, sum};

/// The first byte says which of the two ways.
pub fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let result =
        if input.arbitrary::<u8>().is_ok_and(|way| way & 1 == 0) { merge(&mut input) } else { split(&mut input) };
    result.expect("no input is too short");
}

/// Merges packets and takes them apart again.
fn merge(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let classes = input.arbitrary::<u8>()?;
    let classes =
        Classes { tcp4: classes & 1 == 0, tcp6: classes & 2 == 0, udp4: classes & 4 == 0, udp6: classes & 8 == 0 };
    let packets = packets(input)?;
    let mut coalescer = Coalescer::default();
    coalescer.coalesce(packets.len(), |n| &packets[n], classes);

    let mut seen = vec![false; packets.len()];
    let mut last_first = None;
    for group in coalescer.groups() {
        assert!(last_first < Some(group.first), "writes come in the order of their first packets");
        last_first = Some(group.first);
        let members = members(&coalescer, *group);
        assert!(members.is_sorted(), "a flow keeps its order");
        for member in &members {
            assert!(!std::mem::replace(&mut seen[*member], true), "packet {member} is written once");
        }
        check_group(*group, &members.iter().map(|n| packets[*n].as_slice()).collect::<Vec<_>>(), classes);
    }
    assert!(seen.iter().all(|seen| *seen), "every packet is written");
    Ok(())
}

fn members(coalescer: &Coalescer, group: Group) -> Vec<usize> {
    let mut members = vec![usize::from(group.first)];
    let mut next = group.first;
    for _ in 1..group.count {
        next = coalescer.next(next).expect("a group has as many packets as it says");
        members.push(next.into());
    }
    assert_eq!(coalescer.next(next), None);
    members
}

fn check_group(group: Group, packets: &[&[u8]], classes: Classes) {
    if packets.len() == 1 {
        assert_eq!((group.len as usize, group.header_len), (packets[0].len(), 0));
        return;
    }
    let header_len = usize::from(group.header_len);
    let mut header = [0; MAX_HEADER_LEN];
    let offload = group.write_header(packets[0], packets[packets.len() - 1], &mut header);
    let mut merged = header[..header_len].to_vec();
    packets.iter().for_each(|packet| merged.extend_from_slice(&packet[header_len..]));
    assert_eq!(merged.len(), group.len as usize);
    assert!(merged.len() <= 65_535);
    let is_v6 = merged[0] >> 4 == 6;
    let is_on = match offload.segmentation.expect("a merged packet is segmented again") {
        Segmentation::Tcp4 => classes.tcp4 && !is_v6,
        Segmentation::Tcp6 => classes.tcp6 && is_v6,
        Segmentation::Udp => {
            if is_v6 {
                classes.udp6
            } else {
                classes.udp4
            }
        }
    };
    assert!(is_on, "{offload:?} was not asked for");

    let segments = Segments::new(&merged, offload).expect("what was merged can be split");
    assert_eq!(segments.count(), packets.len());
    for (n, packet) in packets.iter().enumerate() {
        let mut segment = vec![0; segments.len(n)];
        segments.write(n, &mut segment);
        // The identification of a packet that may not be fragmented means nothing.
        let means_nothing = !is_v6 && packet[6] & 0x40 != 0;
        if means_nothing {
            assert_eq!(sum(&segment[..20]), 0xffff, "header checksum");
            segment[4..6].copy_from_slice(&packet[4..6]);
            segment[10..12].copy_from_slice(&packet[10..12]);
        }
        assert!(segment == *packet, "segment {n} of {} differs:\n{segment:02x?}\n{packet:02x?}", packets.len());
    }
}

/// A burst: flows that go on, packets of other flows between them, damage, and what is no packet of a flow at all.
fn packets(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    let mut flows: Vec<Packet> = Vec::new();
    while !input.is_empty() && packets.len() < 140 {
        let action = input.arbitrary::<u8>()?;
        let known = flows.len();
        let built = match action & 7 {
            0 => {
                let packet = Packet::read(input)?;
                flows.push(packet.clone());
                packet.build()
            }
            1 => {
                let raw = input.arbitrary::<u8>()?;
                input.bytes(input.len().min(raw.into()))?.to_vec()
            }
            _ if known == 0 => continue,
            more => {
                let flow = &mut flows[usize::from(action >> 3) % known];
                let (len, flags) = match more {
                    2 => (flow.payload.len(), ACK | PSH),
                    3 => (usize::from(input.arbitrary::<u8>()?), ACK),
                    _ => (flow.payload.len(), ACK),
                };
                *flow = flow.next(len, flags);
                let mut built = flow.build();
                if more == 4 {
                    let (at, bit) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()? & 7);
                    let at = usize::from(at) % built.len();
                    built[at] ^= 1 << bit;
                }
                built
            }
        };
        // As they come out of the tunnel: nothing else is written to an interface.
        if let Ok(header) = ip::parse(&built) {
            packets.push(built[..header.total_len].to_vec());
        }
    }
    Ok(packets)
}

/// Splits a packet that may not be what its offload says.
fn split(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let is_raw = input.arbitrary::<u8>()? & 7 == 0;
    let kind = input.arbitrary::<u8>()?;
    let segmentation = match kind & 3 {
        0 => None,
        1 => Some(Segmentation::Tcp4),
        2 => Some(Segmentation::Tcp6),
        _ => Some(Segmentation::Udp),
    };
    let mut offload =
        Offload { segmentation, segment_len: input.arbitrary()?, header_len: input.arbitrary()?, checksum: None };
    if kind & 4 != 0 {
        offload.checksum = Some(PartialChecksum { start: input.arbitrary()?, offset: input.arbitrary()? });
    }
    let packet = if is_raw {
        input.bytes(input.len())?.to_vec()
    } else {
        let packet = Packet::read(input)?;
        if kind & 8 != 0 {
            let transport_len = if packet.udp { 8 } else { 20 + packet.options.len() as u16 };
            let start = if packet.v6 { 40 } else { 20 };
            offload.header_len = start + transport_len;
            offload.segmentation = Some(match (packet.udp, packet.v6) {
                (true, _) => Segmentation::Udp,
                (_, true) => Segmentation::Tcp6,
                _ => Segmentation::Tcp4,
            });
            offload.checksum = Some(PartialChecksum { start, offset: if packet.udp { 6 } else { 16 } });
        }
        let mut built = packet.build();
        for _ in 0..kind >> 6 {
            let (at, byte) = (input.arbitrary::<u8>()?, input.arbitrary()?);
            let at = usize::from(at) % built.len();
            built[at] = byte;
        }
        built
    };
    let Ok(segments) = Segments::new(&packet, offload) else { return Ok(()) };
    assert!((1..=MAX_SEGMENTS).contains(&segments.count()));
    // Segments differ in their payload alone.
    let header_len = if offload.segmentation.is_some() { headers_of(&packet, offload) } else { 0 };
    let mut payload = 0;
    for n in 0..segments.count() {
        let len = segments.len(n);
        assert!(len <= 65_535.max(packet.len()));
        // One byte more than it may touch.
        let mut out = vec![0xa5; len + 1];
        segments.write(n, &mut out);
        assert_eq!(out[len], 0xa5);
        payload += len - header_len;
    }
    assert_eq!(payload + header_len, packet.len(), "no byte of the payload is lost, none comes twice");
    Ok(())
}

/// The length of the headers, by the packet: what a hint says may be more.
fn headers_of(packet: &[u8], offload: Offload) -> usize {
    let start = match packet[0] >> 4 {
        4 => usize::from(packet[0] & 15) * 4,
        _ => {
            let (mut next, mut start) = (packet[6], 40);
            while matches!(next, 0 | 60) {
                next = packet[start];
                start += (usize::from(packet[start + 1]) + 1) * 8;
            }
            start
        }
    };
    start + if offload.segmentation == Some(Segmentation::Udp) { 8 } else { usize::from(packet[start + 12] >> 4) * 4 }
}
