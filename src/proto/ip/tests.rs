use proptest::prelude::*;

use super::*;

#[test]
fn a_v4_header_is_read() {
    let packet = v4(0b10);
    assert_eq!(
        parse(&packet),
        Ok(IpHeader { src: "10.0.0.1".parse().unwrap(), dst: "10.0.0.2".parse().unwrap(), total_len: 24, ecn: 0b10 })
    );
}

#[test]
fn a_v6_header_is_read() {
    let packet = v6(0b01, 4);
    assert_eq!(
        parse(&packet),
        Ok(IpHeader { src: "fd00::1".parse().unwrap(), dst: "fd00::2".parse().unwrap(), total_len: 44, ecn: 0b01 })
    );
}

#[test]
fn other_versions_and_short_headers_are_not_ip() {
    for version in (0..16u8).filter(|version| ![4, 6].contains(version)) {
        assert_eq!(parse(&[version << 4; 60]), Err(IpError::NotIp));
    }
    assert_eq!(parse(&[]), Err(IpError::NotIp));
    assert_eq!(parse(&v4(0)[..19]), Err(IpError::NotIp));
    assert_eq!(parse(&v6(0, 0)[..39]), Err(IpError::NotIp));
}

#[test]
fn a_length_beyond_the_bytes_or_below_the_header_is_bad() {
    let mut packet = v4(0);
    for (total_len, ok) in [(19, false), (20, true), (24, true), (25, false)] {
        packet[3] = total_len;
        assert_eq!(parse(&packet).is_ok(), ok, "{total_len}");
    }
    assert_eq!(parse(&v6(0, 4)[..43]), Err(IpError::BadLength));
}

#[test]
fn a_v6_length_does_not_wrap_at_16_bits() {
    let packet = v6(0, 65_535);
    assert_eq!(parse(&packet).map(|header| header.total_len), Ok(65_575));
    assert_eq!(parse(&packet[..65_574]), Err(IpError::BadLength));
}

#[test]
fn padding_after_the_packet_is_allowed() {
    let mut packet = v4(0);
    packet.extend([0; 8]);
    assert_eq!(parse(&packet).map(|header| header.total_len), Ok(24));
}

#[test]
fn congestion_before_the_tunnel_is_not_shown_outside() {
    assert_eq!([0, 1, 2, 3].map(encapsulate_ecn), [0, 1, 2, 2]);
}

#[test]
fn outer_ecn_reaches_the_inner_packet_by_the_table() {
    const NOT: u8 = 0;
    const ONE: u8 = 1;
    const ZERO: u8 = 2;
    // Rows: inner; columns: outer Not-ECT, ECT(0), ECT(1), CE.
    let table = [
        (NOT, [NOT, NOT, NOT, NOT]),
        (ZERO, [ZERO, ZERO, ONE, CE]),
        (ONE, [ONE, ONE, ONE, CE]),
        (CE, [CE, CE, CE, CE]),
    ];
    for (inner, row) in table {
        for (outer, expected) in [NOT, ZERO, ONE, CE].into_iter().zip(row) {
            let mut packet = v4(inner);
            decapsulate_ecn(outer, &mut packet);
            assert_eq!(packet, v4(expected), "v4: inner {inner:#b}, outer {outer:#b}");
            let mut packet = v6(inner, 4);
            decapsulate_ecn(outer, &mut packet);
            assert_eq!(packet, v6(expected, 4), "v6: inner {inner:#b}, outer {outer:#b}");
        }
    }
}

#[test]
fn what_is_not_ip_keeps_its_bytes() {
    for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x10; 60]] {
        let mut after = packet.to_vec();
        decapsulate_ecn(CE, &mut after);
        assert_eq!(after, packet);
    }
}

/// RFC 1624, section 4: the case in which the older form fails.
#[test]
fn mending_gives_zero_where_the_whole_sum_does() {
    assert_eq!(mend(0xdd2f, 0x5555, 0x3285), 0x0000);
}

proptest! {
    #[test]
    fn mending_equals_summing_anew(mut header: [u8; 20], outer in 0u8..4) {
        header[0] = 0x45;
        seal(&mut header);
        let mut packet = header.to_vec();
        decapsulate_ecn(outer, &mut packet);
        let mended = packet.clone();
        seal(&mut packet);
        prop_assert_eq!(mended, packet);
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(mut bytes: Vec<u8>, outer: u8) {
        if let Ok(header) = parse(&bytes) {
            prop_assert!(header.total_len <= bytes.len());
        }
        decapsulate_ecn(outer, &mut bytes);
    }
}

fn v4(ecn: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0xb8 | ecn, 0, 24, 1, 2, 0x40, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 9, 9, 9, 9];
    seal(&mut packet);
    packet
}

fn v6(ecn: u8, payload_len: u16) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x85 | ecn << 4, 1, 2];
    packet.extend(payload_len.to_be_bytes());
    packet.extend([59, 64]);
    packet.extend("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
    packet.resize(V6_LEN + usize::from(payload_len), 9);
    packet
}

/// Writes the IPv4 header checksum.
fn seal(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
}

#[test]
fn udp_ports_are_read_only_from_unfragmented_udp() {
    let mut v4 = [0; 28];
    v4[0] = 0x45;
    v4[9] = 17;
    v4[20..24].copy_from_slice(&[0xca, 0x6c, 0, 53]);
    assert_eq!(udp_ports(&v4), Some((51820, 53)));
    v4[6] = 0x20;
    assert_eq!(udp_ports(&v4), None, "a fragment");
    v4[6] = 0x40;
    assert_eq!(udp_ports(&v4), Some((51820, 53)), "do not fragment");
    v4[9] = 6;
    assert_eq!(udp_ports(&v4), None, "TCP");
    let mut v6 = [0; 48];
    v6[0] = 0x60;
    v6[6] = 17;
    v6[40..44].copy_from_slice(&[0, 1, 0, 2]);
    assert_eq!(udp_ports(&v6), Some((1, 2)));
    assert!((0..44).all(|len| udp_ports(&v6[..len]).is_none()));
    assert_eq!(udp_ports(&[]), None);
}
