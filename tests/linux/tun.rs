//! The TUN: packets through the kernel, offloads, errors.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use rvpn::dataplane::io::{Network, Poller, Transmit, Tun};
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::dataplane::packet::TunBatch;
use rvpn::platform::linux::placement::Placement;
use rvpn::platform::linux::poller::LinuxPoller;
use rvpn::platform::linux::tun::{LinuxTun, TunError, TunOptions};
use rvpn::platform::linux::udp::LinuxNetwork;
use rvpn::platform::linux::udp_offload::Trains;
use rvpn::proto::endpoint::Endpoint;

use crate::support::{Namespace, fold, ipv4, read_until, stand_in, sum, tcp_checksum, with_checksum};

#[test]
fn a_new_interface_has_our_defaults_and_an_old_one_keeps_its_own() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = LinuxTun::open("wg%d", TunOptions::default()).unwrap();
    assert_eq!((tun.name(), tun.mtu().unwrap()), ("wg0", 1420));
    assert!(namespace.ip("link show wg0").contains("qlen 1000"));
    drop(tun);
    namespace.ip("tuntap add name old mode tun");
    namespace.ip("link set old mtu 1300");
    let tun = LinuxTun::open("old", TunOptions::default()).unwrap();
    assert_eq!(tun.mtu().unwrap(), 1300);
}

#[test]
fn errors_say_what_is_in_the_way() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link add other type veth peer name another");
    let open = |name| LinuxTun::open(name, TunOptions::default());
    assert!(matches!(open("other"), Err(TunError::Kind(name)) if name == "other"));
    let _first = open("wg0").unwrap();
    assert!(matches!(open("wg0"), Err(TunError::Busy(name)) if name == "wg0"));
    assert!(matches!(open("too-long-a-name-"), Err(TunError::Name(_))));
}

#[test]
fn several_queues_can_be_opened() {
    let Some(_namespace) = Namespace::enter() else { return };
    let options = TunOptions { multi_queue: true, ..TunOptions::default() };
    let first = LinuxTun::open("wg0", options).unwrap();
    let second = LinuxTun::open("wg0", options).unwrap();
    assert_eq!(first.name(), second.name());
}

#[test]
fn the_kernel_answers_an_echo_request() {
    for offload in [true, false] {
        // Not the same one twice: what another test starts has our descriptors until it is the program it shall be, and
        // while one is open the interface stays.
        let Some(namespace) = Namespace::enter() else { return };
        let tun = namespace.tun(TunOptions { offload, multi_queue: false });
        assert_eq!(tun.classes().tcp4, offload);
        let request = ipv4(1, &with_checksum(2, &[8, 0, 0, 0, 0, 1, 0, 1, b'h', b'i']));
        tun.write(Offload::default(), &[IoSlice::new(&request[..13]), IoSlice::new(&request[13..])]).unwrap();
        let reply = read_until(&tun, |packet| packet[9] == 1);
        assert_eq!((reply.bytes[20], &reply.bytes[28..]), (0, &b"hi"[..]));
    }
}

#[test]
fn a_datagram_of_the_host_comes_out_with_its_checksum_left_to_do() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
    socket.send_to(b"hello", "10.77.0.2:9").unwrap();
    let packet = read_until(&tun, |packet| packet[9] == 17);
    assert_eq!(packet.bytes[28..], *b"hello");
    let checksum = Some(PartialChecksum { start: 20, offset: 6 });
    assert_eq!(packet.offload, Offload { checksum, ..Offload::default() });
}

#[test]
fn without_offload_checksums_are_done() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions { offload: false, multi_queue: false });
    let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
    socket.send_to(b"hello", "10.77.0.2:9").unwrap();
    assert_eq!(read_until(&tun, |packet| packet[9] == 17).offload, Offload::default());
}

#[test]
fn a_train_of_datagrams_comes_out_as_one_packet() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    if !tun.classes().udp4 {
        return println!("skipped: this kernel has no USO");
    }
    let stand_in = stand_in();
    let poller = Arc::new(LinuxPoller::new(stand_in.as_fd()).unwrap());
    let udp = LinuxNetwork::new(poller, Trains::Any, Placement::default()).unwrap().bind(0, 0).unwrap();
    let to = Endpoint::configured("10.77.0.2:9".parse().unwrap());
    udp.send(&[Transmit { to, ds: 0, bytes: &[1; 3 * 1000 + 1], segment_len: 1000 }]).1.unwrap();
    let packet = read_until(&tun, |packet| packet[9] == 17);
    let Offload { segmentation, segment_len, header_len, .. } = packet.offload;
    assert_eq!((segmentation, segment_len, header_len), (Some(Segmentation::Udp), 1000, 28));
    assert_eq!(packet.bytes.len(), 28 + 3001);
}

#[test]
fn a_segment_longer_than_the_mtu_refuses_the_train_and_not_the_datagrams() {
    let Some(namespace) = Namespace::enter() else { return };
    let _tun = namespace.tun(TunOptions::default());
    let stand_in = stand_in();
    let poller = Arc::new(LinuxPoller::new(stand_in.as_fd()).unwrap());
    let udp = LinuxNetwork::new(poller, Trains::Any, Placement::default()).unwrap().bind(0, 0).unwrap();
    if udp.max_segments() == 1 {
        return println!("skipped: this kernel has no UDP_SEGMENT");
    }
    let to = Endpoint::configured("10.77.0.2:9".parse().unwrap());
    let (sent, result) = udp.send(&[Transmit { to, ds: 0, bytes: &[1; 4500], segment_len: 1500 }]);
    let error = result.unwrap_err().raw_os_error().unwrap();
    assert!(sent == 0 && [libc::EINVAL, libc::EMSGSIZE].contains(&error), "{error}");
    udp.send(&[Transmit { to, ds: 0, bytes: &[1; 1500], segment_len: 1500 }]).1.unwrap();
}

#[test]
fn a_stream_comes_out_in_packets_of_several_segments() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    let client = std::thread::spawn(move || {
        namespace.enter_again();
        let mut stream = TcpStream::connect("10.77.0.2:80").unwrap();
        stream.write_all(&[3; 5000]).unwrap();
        // Until the peer is done.
        let _ = stream.read(&mut [0]);
    });
    let syn = read_until(&tun, |packet| packet[9] == 6).bytes;
    let answer = |flags: u8, seq: u32, options: &[u8]| {
        let mut tcp = [&syn[22..24], &syn[20..22], &seq.to_be_bytes()].concat();
        let acknowledged = u32::from_be_bytes(syn[24..28].try_into().unwrap()) + 1;
        tcp.extend(acknowledged.to_be_bytes());
        tcp.extend([((20 + options.len()) * 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        ipv4(6, &tcp_checksum(tcp))
    };
    // SYN and ACK, with a maximum segment size of 1200.
    tun.write(Offload::default(), &[IoSlice::new(&answer(0x12, 99, &[2, 4, 0x04, 0xb0]))]).unwrap();
    let packet = read_until(&tun, |packet| packet[9] == 6 && packet.len() > 2000);
    let Offload { segmentation, segment_len, header_len, checksum } = packet.offload;
    assert_eq!((segmentation, segment_len, header_len), (Some(Segmentation::Tcp4), 1200, 40));
    assert_eq!(checksum, Some(PartialChecksum { start: 20, offset: 16 }));
    // RST ends the client.
    tun.write(Offload::default(), &[IoSlice::new(&answer(0x14, 100, &[]))]).unwrap();
    client.join().unwrap();
}

#[test]
fn merged_tcp_segments_are_taken_whole() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    // Data for a port nobody listens on; the kernel's reset acknowledges all of it.
    let mut tcp = Vec::new();
    tcp.extend([0x12, 0x34, 0, 80]);
    tcp.extend(1000_u32.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 5 << 4, 0, 0xff, 0xff, 0, 0, 0, 0]);
    let payload = [9; 1200];
    let len = 20 + 20 + 100 * 3;
    let mut header = ipv4(6, &tcp);
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    let header = with_checksum(10, &header[..20]).into_iter().chain(tcp).collect::<Vec<_>>();
    let mut merged = header;
    let pseudo = fold(sum(&merged[12..20]) + 6 + (len - 20));
    merged[36..38].copy_from_slice(&pseudo.to_be_bytes());
    let offload = Offload {
        segmentation: Some(Segmentation::Tcp4),
        segment_len: 100,
        header_len: 40,
        checksum: Some(PartialChecksum { start: 20, offset: 16 }),
    };
    let parts = [&merged[..], &payload[..100], &payload[100..200], &payload[200..300]].map(IoSlice::new);
    tun.write(offload, &parts).unwrap();
    let reset = read_until(&tun, |packet| packet[9] == 6).bytes;
    assert_eq!(reset[33] & 0x14, 0x14, "RST and ACK");
    assert_eq!(u32::from_be_bytes(reset[28..32].try_into().unwrap()), 1000 + 300);
}

#[test]
fn writes_of_any_number_of_parts_are_packets() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    for count in [1, 3, 4, 63, 64, 1000] {
        let request = ipv4(1, &with_checksum(2, &[&[8, 0, 0, 0, 0, 1, 0, 1], &[1; 1200][..]].concat()));
        let parts: Vec<_> = request.chunks(request.len().div_ceil(count)).map(IoSlice::new).collect();
        tun.write(Offload::default(), &parts).unwrap();
        assert_eq!(read_until(&tun, |packet| packet[9] == 1).bytes.len(), request.len());
    }
    let error = tun.write(Offload::default(), &[IoSlice::new(&[0x45]); 1024]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn down_is_transient_and_deleted_is_not() {
    let Some(namespace) = Namespace::enter() else { return };
    let tun = namespace.tun(TunOptions::default());
    let packet = ipv4(1, &with_checksum(2, &[8, 0, 0, 0, 0, 1, 0, 1]));
    let mut batch = TunBatch::new();
    namespace.ip("link set wg0 down");
    let error = tun.write(Offload::default(), &[IoSlice::new(&packet)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    tun.read(&mut batch).unwrap();
    let poller = LinuxPoller::new(tun.as_fd()).unwrap();
    namespace.ip("link del wg0");
    assert!(poller.wait().unwrap().tun);
    batch.clear();
    assert_eq!(tun.read(&mut batch).unwrap_err().kind(), ErrorKind::NotFound);
    let error = tun.write(Offload::default(), &[IoSlice::new(&packet)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
