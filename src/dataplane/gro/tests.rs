use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::gso::tests::{ACK, Sample, segments};
use super::*;

const ALL: Classes = Classes { tcp4: true, tcp6: true, udp4: true, udp6: true };

#[test]
fn segments_of_a_flow_become_the_packet_they_were() {
    for v6 in [false, true] {
        for udp in [false, true] {
            let whole = Sample { udp, flags: ACK | flow::PSH, ..Sample::tcp(v6, (0..250).collect()) };
            let packets = segments(&whole.build(), whole.offload(100)).unwrap();
            let mut coalescer = Coalescer::default();
            coalescer.coalesce(packets.len(), |n| &packets[n], ALL);
            assert_eq!(coalescer.groups().len(), 1);
            assert_eq!((coalescer.groups()[0].count, coalescer.groups()[0].len as usize), (3, whole.build().len()));
            let (merged, offload) = merge(&coalescer, coalescer.groups()[0], &packets);
            assert_eq!(offload, whole.offload(100));
            // The checksum field holds the pseudo-header's sum; finished, it is the whole packet's.
            let checksum = offload.checksum;
            let finished = segments(&merged, Offload { checksum, ..Offload::default() }).unwrap();
            assert_eq!(finished, [whole.build()]);
        }
    }
}

#[test]
fn interleaved_flows_are_merged_each() {
    let flow = |flow, seq| Sample { flow, seq, ..Sample::tcp(true, vec![flow; 100]) };
    let packets = [flow(1, 0), flow(2, 0), flow(1, 100), flow(2, 100), flow(1, 200)];
    assert_eq!(grouped(&packets, ALL), [vec![0, 2, 4], vec![1, 3]]);
}

#[test]
fn flows_that_share_a_slot_of_the_table_are_told_apart() {
    let flow =
        |n: usize| Sample { flow: (n % 128) as u8, seq: (n / 128 * 10) as u32, ..Sample::tcp(true, vec![1; 10]) };
    let packets: Vec<_> = (0..256).map(flow).collect();
    let expected: Vec<_> = (0..128).map(|n| vec![n, n + 128]).collect();
    assert_eq!(grouped(&packets, ALL), expected);
}

#[test]
fn what_segmentation_could_not_restore_is_not_merged() {
    let first = Sample { seq: 0, id: 7, ..Sample::tcp(false, vec![1; 100]) };
    let second = Sample { seq: 100, id: 8, ..first.clone() };
    assert_eq!(grouped(&[first.clone(), second.clone()], ALL), [[0, 1]], "as it is, it is merged");
    for (why, other) in [
        ("a gap", Sample { seq: 101, ..second.clone() }),
        ("a repetition", Sample { seq: 0, ..second.clone() }),
        ("a longer one", Sample { payload: vec![1; 101], ..second.clone() }),
        ("no payload", Sample { payload: vec![], ..second.clone() }),
        ("other ECN bits", Sample { ecn: 3, ..second.clone() }),
        ("other fragmentation", Sample { dont_fragment: false, ..second.clone() }),
        ("options", Sample { options: vec![1; 4], ..second.clone() }),
        ("another flow", Sample { flow: 2, ..second.clone() }),
        ("another port", Sample { dst_port: 444, ..second.clone() }),
        ("another version", Sample { v6: true, ..second.clone() }),
        ("another protocol", Sample { udp: true, ..second.clone() }),
        ("no ACK", Sample { flags: 0, ..second.clone() }),
        ("FIN", Sample { flags: ACK | 0x01, ..second.clone() }),
        ("SYN", Sample { flags: ACK | 0x02, ..second.clone() }),
        ("RST", Sample { flags: ACK | 0x04, ..second.clone() }),
        ("URG", Sample { flags: ACK | 0x20, ..second.clone() }),
        ("ECE", Sample { flags: ACK | 0x40, ..second.clone() }),
        ("CWR", Sample { flags: ACK | 0x80, ..second.clone() }),
    ] {
        assert_eq!(grouped(&[first.clone(), other], ALL), [[0], [1]], "{why}");
    }
    let psh = Sample { flags: ACK | flow::PSH, ..first.clone() };
    assert_eq!(grouped(&[psh, second.clone()], ALL), [[0], [1]], "PSH ends the run");
    let short = Sample { payload: vec![1; 99], ..first.clone() };
    let after_short = Sample { seq: 99, payload: vec![1; 99], ..first.clone() };
    let third = Sample { seq: 198, id: 9, ..short.clone() };
    assert_eq!(grouped(&[short, after_short, third], ALL), [[0, 1, 2]]);
    let shorter = Sample { payload: vec![1; 50], ..second.clone() };
    let after = Sample { seq: 150, id: 9, payload: vec![1; 50], ..second };
    assert_eq!(grouped(&[first, shorter, after], ALL), [vec![0, 1], vec![2]], "a shorter one ends the run");
}

#[test]
fn any_other_header_byte_keeps_packets_apart() {
    let first = Sample { seq: 0, options: vec![1; 12], ..Sample::tcp(false, vec![1; 100]) };
    let second = Sample { seq: 100, ..first.clone() };
    // TTL; acknowledgement, reserved bits, window, urgent pointer, options. The checksum is mended, to be no reason.
    for at in [8, 28, 31, 32, 34, 38, 40, 51] {
        let (first, mut second) = (first.build(), second.build());
        second[at] ^= 1;
        let (field, range) = if at < 20 { (10..12, 0..20) } else { (36..38, 20..second.len()) };
        mend(&mut second, field, range);
        assert_eq!(groups_of(&[first, second], ALL), [[0], [1]], "byte {at}");
    }
    let first = Sample { v6: true, ..first };
    let second = Sample { v6: true, ..second };
    // Traffic class, flow label, hop limit: under no checksum.
    for at in [1, 3, 7] {
        let (first, mut second) = (first.build(), second.build());
        second[at] ^= 1;
        assert_eq!(groups_of(&[first, second], ALL), [[0], [1]], "byte {at}");
    }
}

#[test]
fn identifications_matter_only_where_fragments_may_be() {
    let fragmentable = |id, seq| Sample { id, seq, dont_fragment: false, ..Sample::tcp(false, vec![1; 100]) };
    let three = |third| [fragmentable(0xffff, 0), fragmentable(0, 100), fragmentable(third, 200)];
    assert_eq!(grouped(&three(1), ALL), [[0, 1, 2]]);
    assert_eq!(grouped(&three(2), ALL), [vec![0, 1], vec![2]]);
    let zeros = [0, 100].map(|seq| Sample { id: 0, seq, ..Sample::tcp(false, vec![1; 100]) });
    assert_eq!(grouped(&zeros, ALL), [[0, 1]]);
}

#[test]
fn damaged_packets_are_not_merged() {
    for v6 in [false, true] {
        for udp in [false, true] {
            let packet = |n: u32| Sample { udp, seq: n * 100, ..Sample::tcp(v6, vec![1; 100]) }.build();
            for damaged in 0..3 {
                let mut packets = [packet(0), packet(1), packet(2)];
                *packets[damaged].last_mut().unwrap() ^= 1;
                let expected = [vec![vec![0], vec![1, 2]], vec![vec![0], vec![1], vec![2]], vec![vec![0, 1], vec![2]]];
                assert_eq!(groups_of(&packets, ALL), expected[damaged], "packet {damaged}");
            }
        }
    }
    let mut packets = [0, 100].map(|seq| Sample { seq, ..Sample::tcp(false, vec![1; 100]) }.build());
    packets[0][10] ^= 1;
    assert_eq!(groups_of(&packets, ALL), [[0], [1]], "IPv4 header checksum");
}

#[test]
fn datagrams_without_checksum_are_not_merged() {
    let mut packets = [0; 2].map(|_| Sample::udp(false, vec![1; 100]).build());
    assert_eq!(groups_of(&packets, ALL), [[0, 1]]);
    packets[1][26..28].fill(0);
    assert_eq!(groups_of(&packets, ALL), [[0], [1]]);
}

#[test]
fn datagrams_that_end_before_their_packet_are_not_merged() {
    let packets = [0; 2].map(|_| {
        let mut packet = Sample::udp(false, vec![1; 100]).build();
        packet[25] -= 2;
        packet[26..28].fill(0);
        // Right by the length of the packet, so that the length of the datagram is the reason.
        let sum = Sum::pseudo_header(&packet[12..20], 17, 108) + Sum::of(&packet[20..]);
        packet[26..28].copy_from_slice(&sum.checksum());
        packet
    });
    assert_eq!(groups_of(&packets, ALL), [[0], [1]]);
}

#[test]
fn tunnels_that_old_kernels_break_are_left_alone() {
    for dst_port in [4789, 6081] {
        let packets = [0; 2].map(|_| Sample { dst_port, ..Sample::udp(false, vec![1; 100]) });
        assert_eq!(grouped(&packets, ALL), [[0], [1]]);
    }
}

#[test]
fn a_class_that_is_off_is_not_merged() {
    for v6 in [false, true] {
        for udp in [false, true] {
            let packets = [0, 100].map(|seq| Sample { udp, seq, ..Sample::tcp(v6, vec![1; 100]) });
            let mut classes = ALL;
            *match (udp, v6) {
                (false, false) => &mut classes.tcp4,
                (false, true) => &mut classes.tcp6,
                (true, false) => &mut classes.udp4,
                (true, true) => &mut classes.udp6,
            } = false;
            assert_eq!(grouped(&packets, ALL), [[0, 1]]);
            assert_eq!(grouped(&packets, classes), [[0], [1]]);
        }
    }
}

#[test]
fn a_packet_that_cannot_be_merged_is_not_overtaken() {
    let data = |seq| Sample { seq, ..Sample::tcp(false, vec![1; 100]) };
    let fin = Sample { flags: ACK | 1, ..data(200) };
    assert_eq!(grouped(&[data(0), data(100), fin, data(200), data(300)], ALL), [vec![0, 1], vec![2], vec![3, 4]]);
    // A fragment may be of any flow, an echo request is of none.
    let mut fragment = data(200).build();
    fragment[6] = 0x20;
    let packets = [data(0).build(), fragment, data(100).build()];
    assert_eq!(groups_of(&packets, ALL), [[0], [1], [2]]);
    let mut echo = data(200).build();
    echo[9] = 1;
    let packets = [data(0).build(), echo, data(100).build()];
    assert_eq!(groups_of(&packets, ALL), [vec![0, 2], vec![1]]);
}

#[test]
fn a_merged_packet_is_no_longer_than_a_packet_may_be() {
    let packets: Vec<_> = (0..60u32).map(|n| Sample { seq: n * 1400, ..Sample::tcp(false, vec![1; 1400]) }).collect();
    let groups = grouped(&packets, ALL);
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [46, 14]);
    let datagrams = vec![Sample::udp(false, vec![1; 10]); 130];
    assert_eq!(grouped(&datagrams, ALL).iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 2]);
}

#[test]
fn a_warm_coalescer_allocates_nothing() {
    let packets: Vec<_> = (0..128).map(|flow| Sample { flow, ..Sample::tcp(true, vec![1; 10]) }.build()).collect();
    let mut coalescer = Coalescer::default();
    coalescer.coalesce(packets.len(), |n| &packets[n], ALL);
    let room = |coalescer: &Coalescer| {
        (coalescer.groups.capacity(), coalescer.next.capacity(), coalescer.runs.capacity(), coalescer.table.capacity())
    };
    let warm = room(&coalescer);
    coalescer.coalesce(packets.len(), |n| &packets[127 - n], ALL);
    assert_eq!(room(&coalescer), warm);
}

#[test]
fn an_empty_batch_has_no_groups() {
    assert!(groups_of(&[], ALL).is_empty());
}

proptest! {
    #[test]
    fn splitting_what_was_merged_gives_the_packets_in_order_per_flow(samples in batch()) {
        let packets: Vec<_> = samples.iter().map(Sample::build).collect();
        let after = merged_and_split(&packets);
        prop_assert_eq!(after.len(), packets.len());
        for packet in &packets {
            let of_flow = |other: &&Vec<u8>| flow_of(other) == flow_of(packet);
            let before: Vec<_> = packets.iter().filter(of_flow).map(|packet| without_idle_id(packet)).collect();
            prop_assert_eq!(after.iter().filter(of_flow).map(|packet| without_idle_id(packet)).collect::<Vec<_>>(), before);
        }
    }

    #[test]
    fn merging_what_was_split_gives_the_packet(
        v6: bool, udp: bool, id: u16, seq: u32, psh: bool, payload in vec(any::<u8>(), 200..4000), segment_len in 80u16..1500,
    ) {
        let flags = if psh { ACK | flow::PSH } else { ACK };
        let whole = Sample { udp, id, seq, flags, ..Sample::tcp(v6, payload) };
        let packets = segments(&whole.build(), whole.offload(segment_len)).unwrap();
        let mut coalescer = Coalescer::default();
        coalescer.coalesce(packets.len(), |n| &packets[n], ALL);
        prop_assert_eq!(coalescer.groups().len(), 1);
        if packets.len() > 1 {
            let (merged, offload) = merge(&coalescer, coalescer.groups()[0], &packets);
            prop_assert_eq!(offload, whole.offload(segment_len));
            let finished = segments(&merged, Offload { checksum: offload.checksum, ..Offload::default() }).unwrap();
            let [finished] = &finished[..] else { panic!("one packet") };
            // Equal but for a checksum of zero, which finishing writes as its twin.
            prop_assert_eq!(finished.len(), whole.build().len());
            prop_assert_eq!(segments(finished, whole.offload(segment_len)).unwrap(), packets);
        }
    }

    #[test]
    fn hostile_packets_never_panic(
        samples in batch(), damage in vec((any::<prop::sample::Index>(), 0usize..70, any::<u8>()), 0..40),
        cuts in vec((any::<prop::sample::Index>(), 0usize..80), 0..10),
    ) {
        let mut packets: Vec<_> = samples.iter().map(Sample::build).collect();
        for (packet, at, byte) in damage {
            let packet = packet.get_mut(&mut packets);
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
        }
        for (packet, len) in cuts {
            packet.get_mut(&mut packets).truncate(len);
        }
        prop_assert_eq!(merged_and_split(&packets).len(), packets.len());
    }
}

/// Packets of a few flows, mostly in sequence, with now and then a gap, a flag, another length.
fn batch() -> impl Strategy<Value = Vec<Sample>> {
    let step = (0u8..3, any::<bool>(), any::<bool>(), 0u8..20, any::<u16>(), vec(any::<u8>(), 1..60), any::<bool>());
    vec(step, 1..130).prop_map(move |steps| {
        let mut sent = [[(0u32, 0u16); 4]; 3];
        let sample =
            |(flow, v6, udp, chance, random, payload, fragmentable): (u8, bool, bool, u8, u16, Vec<u8>, bool)| {
                let (seq, id) = &mut sent[usize::from(flow)][usize::from(v6) * 2 + usize::from(udp)];
                let payload = match chance {
                    0 => Vec::new(),
                    1 | 2 => payload,
                    _ => vec![random as u8; 40],
                };
                let flags = match chance {
                    3 => random as u8,
                    4 => ACK | flow::PSH,
                    _ => ACK,
                };
                if chance == 5 {
                    *seq = seq.wrapping_add(u32::from(random));
                }
                let dst_port = if chance == 6 { 4789 } else { 443 };
                let ecn = if chance == 7 { 3 } else { 0 };
                let dont_fragment = !(fragmentable && flow == 2);
                let id_now = if dont_fragment { random } else { *id };
                let options = if flow == 1 && !udp { vec![1; 12] } else { Vec::new() };
                let sample = Sample {
                    v6,
                    udp,
                    flow,
                    dst_port,
                    ecn,
                    id: id_now,
                    dont_fragment,
                    seq: *seq,
                    flags,
                    options,
                    payload,
                };
                *seq = seq.wrapping_add(sample.payload.len() as u32);
                *id = id.wrapping_add(1);
                sample
            };
        steps.into_iter().map(sample).collect()
    })
}

/// Version, protocol, addresses and ports of a sample.
fn flow_of(packet: &[u8]) -> (u8, &[u8]) {
    if packet[0] >> 4 == 4 { (packet[9], &packet[12..24]) } else { (packet[6], &packet[8..44]) }
}

/// The packet without an identification that means nothing, as it may not be fragmented.
fn without_idle_id(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// What comes out behind the TUN.
fn merged_and_split(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut coalescer = Coalescer::default();
    coalescer.coalesce(packets.len(), |n| &packets[n], ALL);
    let mut after = Vec::new();
    for group in coalescer.groups() {
        if group.count == 1 {
            assert_eq!(group.len as usize, packets[usize::from(group.first)].len());
            after.push(packets[usize::from(group.first)].clone());
        } else {
            let (merged, offload) = merge(&coalescer, *group, packets);
            assert_eq!(merged.len(), group.len as usize);
            after.extend(segments(&merged, offload).unwrap());
        }
    }
    after
}

/// What the TUN would be given.
fn merge(coalescer: &Coalescer, group: Group, packets: &[Vec<u8>]) -> (Vec<u8>, Offload) {
    let members = members(coalescer, group);
    let packet = |n: u16| &packets[usize::from(n)][..];
    let mut header = [0xaa; MAX_HEADER_LEN];
    let offload = group.write_header(packet(group.first), packet(members[members.len() - 1]), &mut header);
    let mut merged = header[..usize::from(group.header_len)].to_vec();
    for n in members {
        merged.extend(&packet(n)[usize::from(group.header_len)..]);
    }
    (merged, offload)
}

fn members(coalescer: &Coalescer, group: Group) -> Vec<u16> {
    let members: Vec<_> = std::iter::successors(Some(group.first), |n| coalescer.next(*n)).collect();
    assert_eq!(members.len(), usize::from(group.count));
    members
}

fn grouped(samples: &[Sample], classes: Classes) -> Vec<Vec<u16>> {
    groups_of(&samples.iter().map(Sample::build).collect::<Vec<_>>(), classes)
}

fn groups_of(packets: &[Vec<u8>], classes: Classes) -> Vec<Vec<u16>> {
    let mut coalescer = Coalescer::default();
    coalescer.coalesce(packets.len(), |n| &packets[n], classes);
    coalescer.groups().iter().map(|group| members(&coalescer, *group)).collect()
}

/// Makes the checksum over `range` right again after a byte of it changed.
fn mend(packet: &mut [u8], field: Range<usize>, range: Range<usize>) {
    packet[field.clone()].fill(0);
    let v4_pseudo = Sum::pseudo_header(&packet[12..20], TCP, range.len());
    let pseudo = if range.start == 0 { Sum::default() } else { v4_pseudo };
    let checksum = (pseudo + Sum::of(&packet[range])).checksum();
    packet[field].copy_from_slice(&checksum);
}
