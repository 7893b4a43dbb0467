use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn a_v4_packet_is_answered_from_where_it_went() {
    let packet = v4("10.0.0.1", "10.9.9.9", 17, &[7; 100]);
    let answer = answer(&packet).unwrap();
    assert_eq!(answer.len(), 20 + 8 + packet.len());
    let header = ip::parse(&answer).unwrap();
    assert_eq!(header.src.to_string(), "10.9.9.9");
    assert_eq!(header.dst.to_string(), "10.0.0.1");
    assert_eq!(header.total_len, answer.len());
    assert_eq!(answer[9], 1);
    assert_eq!(answer[20..22], [3, 1]);
    assert_eq!(answer[24..28], [0; 4]);
    assert_eq!(answer[28..], packet);
    assert_eq!(checksum(0, &answer[..20]), 0);
    assert_eq!(checksum(0, &answer[20..]), 0);
}

#[test]
fn a_v6_packet_is_answered_from_where_it_went() {
    let packet = v6("fd00::1", "fd00::9", 17, &[7; 101]);
    let answer = answer(&packet).unwrap();
    assert_eq!(answer.len(), 40 + 8 + packet.len());
    let header = ip::parse(&answer).unwrap();
    assert_eq!(header.src.to_string(), "fd00::9");
    assert_eq!(header.dst.to_string(), "fd00::1");
    assert_eq!(header.total_len, answer.len());
    assert_eq!(answer[6], 58);
    assert_eq!(answer[40..42], [1, 3]);
    assert_eq!(answer[48..], packet);
    let pseudo = sum((answer.len() - 40 + 58) as u32, &answer[8..40]);
    assert_eq!(checksum(pseudo, &answer[40..]), 0);
}

#[test]
fn a_v4_packet_that_is_too_big_is_answered_with_the_length_if_it_must_not_be_fragmented() {
    let mut packet = v4("10.0.0.1", "10.9.9.9", 6, &[7; 1400]);
    assert_eq!(told(Report::TooBig(1232), &packet), None, "it may be fragmented");
    packet[6] = DONT_FRAGMENT;
    let answer = told(Report::TooBig(1232), &packet).unwrap();
    assert_eq!(answer[20..22], [3, 4]);
    assert_eq!(answer[24..28], [0, 0, 0x04, 0xd0]);
    assert_eq!(answer[28..], packet[..548]);
    assert_eq!(checksum(0, &answer[20..]), 0);
    assert_eq!(told(Report::TooBig(1420), &packet), None, "as long as it may be");
}

#[test]
fn a_v6_packet_that_is_too_big_is_told_no_less_than_every_path_carries() {
    let packet = v6("fd00::1", "fd00::9", 6, &[7; 1400]);
    for (len, expected) in [(1376, [0, 0, 0x05, 0x60]), (1000, [0, 0, 0x05, 0])] {
        let answer = told(Report::TooBig(len), &packet).unwrap();
        assert_eq!(answer[40..42], [2, 0]);
        assert_eq!(answer[44..48], expected);
        let pseudo = sum((answer.len() - 40 + 58) as u32, &answer[8..40]);
        assert_eq!(checksum(pseudo, &answer[40..]), 0);
    }
    assert_eq!(told(Report::TooBig(1000), &v6("fd00::1", "fd00::9", 6, &[7; 1240])), None);
}

#[test]
fn long_packets_are_quoted_up_to_the_limit() {
    let packet = v4("10.0.0.1", "10.9.9.9", 6, &[7; 1400]);
    let v4_answer = answer(&packet).unwrap();
    assert_eq!(v4_answer.len(), 576);
    assert_eq!(v4_answer[28..], packet[..548]);
    let packet = v6("fd00::1", "fd00::9", 6, &[7; 60_000]);
    let v6_answer = answer(&packet).unwrap();
    assert_eq!(v6_answer.len(), 1280);
    assert_eq!(v6_answer[48..], packet[..1232]);
}

#[test]
fn padding_is_not_quoted() {
    let packet = v4("10.0.0.1", "10.9.9.9", 17, &[7; 4]);
    let mut padded = packet.clone();
    padded.extend([0; 8]);
    assert_eq!(answer(&padded), answer(&packet));
}

#[test]
fn icmp_errors_are_not_answered_but_echoes_are() {
    for (icmp_type, answered) in [(0, true), (3, false), (4, false), (5, false), (8, true), (11, false), (12, false)] {
        let packet = v4("10.0.0.1", "10.9.9.9", 1, &[icmp_type, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer(&packet).is_some(), answered, "ICMPv4 {icmp_type}");
    }
    for (icmp_type, answered) in
        [(1, false), (2, false), (4, false), (127, false), (128, true), (129, true), (137, false)]
    {
        let message = [icmp_type, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(answer(&v6("fd00::1", "fd00::9", 58, &message)).is_some(), answered, "ICMPv6 {icmp_type}");
        // The same behind extension headers of 8 and 16 bytes.
        let mut extended = vec![60, 0, 0, 0, 0, 0, 0, 0, 58, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        extended.extend(message);
        assert_eq!(answer(&v6("fd00::1", "fd00::9", 0, &extended)).is_some(), answered, "ICMPv6 {icmp_type} extended");
    }
}

#[test]
fn an_icmp_packet_cut_before_its_type_is_not_answered() {
    assert_eq!(answer(&v4("10.0.0.1", "10.9.9.9", 1, &[])), None);
    assert_eq!(answer(&v6("fd00::1", "fd00::9", 58, &[])), None);
    assert_eq!(answer(&v6("fd00::1", "fd00::9", 0, &[58, 1, 0, 0, 0, 0, 0, 0])), None);
}

#[test]
fn only_first_fragments_are_answered() {
    let mut packet = v4("10.0.0.1", "10.9.9.9", 17, &[7; 16]);
    packet[6] = 0x20;
    assert!(answer(&packet).is_some());
    packet[7] = 1;
    assert!(answer(&packet).is_none());
    let fragment = |offset| v6("fd00::1", "fd00::9", 44, &[17, 0, 0, offset, 0, 0, 0, 1, 9, 9, 9, 9]);
    assert!(answer(&fragment(1)).is_some(), "the first, more follow");
    assert!(answer(&fragment(8)).is_none());
}

#[test]
fn groups_are_not_answered_about_and_never_answered_to() {
    for (src, dst, answered) in [
        ("10.0.0.1", "10.9.9.9", true),
        ("10.0.0.1", "224.0.0.1", false),
        ("10.0.0.1", "239.255.255.255", false),
        ("10.0.0.1", "255.255.255.255", false),
        ("0.0.0.0", "10.9.9.9", false),
        ("127.0.0.1", "10.9.9.9", false),
        ("224.0.0.1", "10.9.9.9", false),
        ("255.255.255.255", "10.9.9.9", false),
    ] {
        assert_eq!(answer(&v4(src, dst, 17, &[7; 8])).is_some(), answered, "{src} to {dst}");
    }
    for (src, dst, answered) in [
        ("fd00::1", "fd00::9", true),
        ("fd00::1", "ff02::1", false),
        ("::", "fd00::9", false),
        ("::1", "fd00::9", false),
        ("ff02::1", "fd00::9", false),
    ] {
        assert_eq!(answer(&v6(src, dst, 17, &[7; 8])).is_some(), answered, "{src} to {dst}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_without_panic(first in prop_oneof![Just(0x45u8), Just(0x4fu8), Just(0x60u8), any::<u8>()],
                                            rest in vec(any::<u8>(), 0..1500)) {
        let mut packet = vec![first];
        packet.extend(rest);
        if packet.len() >= 40 {
            // Half of the lengths fit.
            let len = packet.len();
            packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        }
        if let Some(answer) = answer(&packet) {
            prop_assert_eq!(ip::parse(&answer).unwrap().total_len, answer.len());
            // No answer to the answer.
            prop_assert_eq!(write(Report::Unreachable, &answer, &mut [0; MAX_LEN]), None);
        }
    }
}

fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    told(Report::Unreachable, packet)
}

fn told(report: Report, packet: &[u8]) -> Option<Vec<u8>> {
    // What was in the buffer before must not show.
    let mut out = [0xaa; MAX_LEN];
    write(report, packet, &mut out).map(|len| out[..len].to_vec())
}

fn v4(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(src.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend(dst.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

fn v6(src: &str, dst: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(src.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(dst.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}
