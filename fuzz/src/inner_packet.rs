//! Packets that come out of a tunnel or go into it, as any peer or program may make them.

use rvpn::proto::icmp::{self, Report};
use rvpn::proto::ip::{decapsulate_ecn, encapsulate_ecn, parse, udp_ports};

use super::packet::sum;

/// Does with a packet what the data plane does with headers.
pub fn run(bytes: &[u8]) {
    let Some((outer, packet)) = bytes.split_first() else { return };
    let _ = udp_ports(packet);
    assert!(encapsulate_ecn(*outer) != 3, "congestion from before the tunnel is not told as met within it");
    ecn(*outer, packet);

    report(Report::Unreachable, packet);
    report(Report::TooBig(u16::from(*outer) * 8), packet);
}

/// Checks what a sender is told of `packet`.
fn report(report: Report, packet: &[u8]) {
    let mut out = [0; icmp::MAX_LEN];
    let Some(len) = icmp::write(report, packet, &mut out) else { return };
    let about = parse(packet).expect("an error is about an IP packet");
    let error = &out[..len];
    let header = parse(error).expect("an error is an IP packet");
    assert_eq!(header.total_len, len);
    assert_eq!((header.src, header.dst), (about.dst, about.src));
    assert!(len <= if header.src.is_ipv4() { 576 } else { 1280 });
    if header.src.is_ipv4() {
        assert_eq!((sum(&error[..20]), sum(&error[20..])), (0xffff, 0xffff), "checksums");
        assert_eq!(error[28..], packet[..len - 28]);
    } else {
        let upper = [&error[8..40], &(len as u32 - 40).to_be_bytes(), &[0, 0, 0, 58], &error[40..]].concat();
        assert_eq!(sum(&upper), 0xffff, "checksum");
        assert_eq!(error[48..], packet[..len - 48]);
    }
    assert_eq!(icmp::write(Report::Unreachable, error, &mut [0; icmp::MAX_LEN]), None, "no error is about an error");
}

/// Congestion marks change two bits of the header, and its checksum by as much.
fn ecn(outer: u8, packet: &[u8]) {
    let mut marked = packet.to_vec();
    decapsulate_ecn(outer, &mut marked);
    let Ok(before) = parse(packet) else { return };
    let after = parse(&marked).expect("it is still a packet");
    assert_eq!((after.src, after.dst, after.total_len), (before.src, before.dst, before.total_len));
    // Not-ECT stays, and congestion that was told is never taken back.
    assert!(before.ecn != 0 || after.ecn == 0);
    assert!(before.ecn != 3 || after.ecn == 3);
    assert!(before.ecn == 0 || outer & 3 != 3 || after.ecn == 3, "congestion met in the tunnel is told");
    if before.src.is_ipv4() {
        assert_eq!(sum(&marked[..20]) == 0xffff, sum(&packet[..20]) == 0xffff, "a right checksum stays right");
        marked[10..12].copy_from_slice(&packet[10..12]);
        marked[1] = marked[1] & !3 | packet[1] & 3;
    } else {
        marked[1] = marked[1] & !0x30 | packet[1] & 0x30;
    }
    assert_eq!(marked, packet);
}
