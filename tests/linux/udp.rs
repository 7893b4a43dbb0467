//! Sockets: trains, control messages, source addresses, ports.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;

use rvpn::dataplane::io::{Families, Network, Poller, Transmit, Udp};
use rvpn::dataplane::packet::{Pool, UdpBatch};
use rvpn::platform::linux::placement::Placement;
use rvpn::platform::linux::poller::LinuxPoller;
use rvpn::platform::linux::udp::LinuxNetwork;
use rvpn::platform::linux::udp_offload::Trains;
use rvpn::proto::endpoint::{Endpoint, Source};

use crate::support::{Namespace, await_readable, stand_in};

#[test]
fn a_train_arrives_whole_and_its_segments_are_told() {
    for loopback in both_loopbacks() {
        let (a, b) = (Host::new(), Host::new());
        let bytes: Vec<u8> = (0..10 * 1200 + 5).map(|n| n as u8).collect();
        let to = Endpoint::configured((loopback, b.udp.port()).into());
        let (sent, result) = a.udp.send(&[Transmit { to, ds: 0, bytes: &bytes, segment_len: 1200 }]);
        assert_eq!((sent, result.map_err(|error| error.kind())), (1, Ok(())));
        let got = b.receive_bytes(bytes.len());
        let datagrams: Vec<&[u8]> = got.iter().flat_map(|one| one.bytes.chunks(one.segment_len)).collect();
        assert_eq!(datagrams, bytes.chunks(1200).collect::<Vec<_>>());
        assert!(got.iter().all(|one| one.from.remote == SocketAddr::from((loopback, a.udp.port()))));
        if a.udp.max_segments() > 1 {
            assert_eq!(got.len(), 1, "the loopback hands trains over whole");
        }
    }
}

#[test]
fn the_mtu_of_a_path_is_that_of_its_route_by_family_and_mark() {
    let Some(namespace) = Namespace::enter() else { return };
    for command in [
        "link add veth0 type veth peer name veth1",
        "link set veth0 addrgenmode none up",
        "addr add 10.5.0.1/24 dev veth0",
        "addr add fd05::1/64 dev veth0 nodad",
        "route add 10.6.0.0/24 dev veth0 mtu 1300",
        "route add fd06::/64 dev veth0 mtu 1290",
        "route add 10.6.0.0/24 dev veth0 mtu 1400 table 7",
        "rule add fwmark 7 lookup 7",
    ] {
        namespace.ip(command);
    }
    let host = Host::new();
    let mtu = |to: &str| host.udp.path_mtu(to.parse().unwrap());
    assert_eq!([mtu("10.5.0.2:1"), mtu("[fd05::2]:1")], [Some(1500); 2]);
    assert_eq!(
        [mtu("10.6.0.2:1"), mtu("[::ffff:10.6.0.2]:1"), mtu("[fd06::2]:1")],
        [Some(1300), Some(1300), Some(1290)]
    );
    assert_eq!(mtu("192.0.2.1:1"), None, "there is no way");
    host.udp.set_mark(7).unwrap();
    assert_eq!(mtu("10.6.0.2:1"), Some(1400));
}

#[test]
fn trains_beyond_what_one_message_takes_are_split() {
    let (a, b) = (Host::new(), Host::new());
    for (count, len) in [(150, 100), (60, 1452), (3, 30_000)] {
        let bytes = vec![7; count * len];
        let to = Endpoint::configured(b.address("127.0.0.1"));
        let transmit = Transmit { to, ds: 0, bytes: &bytes, segment_len: len };
        let (sent, result) = a.udp.send(&[transmit]);
        result.unwrap();
        assert_eq!(sent, 1);
        let got = b.receive_bytes(bytes.len());
        assert_eq!(got.iter().map(|one| one.bytes.len().div_ceil(one.segment_len)).sum::<usize>(), count);
    }
}

#[test]
fn many_transmits_of_both_families_are_sent_in_order() {
    if both_loopbacks().len() < 2 {
        return;
    }
    let (a, b) = (Host::new(), Host::new());
    let v4 = Endpoint::configured(b.address("127.0.0.1"));
    let v6 = Endpoint::configured(b.address("::1"));
    let payloads: Vec<[u8; 1]> = (0..200).map(|n| [n]).collect();
    let transmits: Vec<_> = payloads
        .iter()
        .map(|bytes| Transmit { to: if bytes[0] % 100 < 70 { v4 } else { v6 }, ds: 0, bytes, segment_len: bytes.len() })
        .collect();
    let (sent, result) = a.udp.send(&transmits);
    result.unwrap();
    assert_eq!(sent, 200);
    let got = b.receive_bytes(200);
    for is_v4 in [true, false] {
        let values: Vec<u8> =
            got.iter().filter(|one| one.from.remote.is_ipv4() == is_v4).map(|one| one.bytes[0]).collect();
        assert_eq!(values.len(), if is_v4 { 140 } else { 60 });
        assert!(values.is_sorted());
    }
}

#[test]
fn the_ds_byte_is_sent_and_its_ecn_received() {
    for loopback in both_loopbacks() {
        let (a, b) = (Host::new(), Host::new());
        for ds in [0x88, 0, 1, 2, 3] {
            let to = Endpoint::configured((loopback, b.udp.port()).into());
            a.udp.send(&[Transmit { to, ds, bytes: &[ds], segment_len: 1 }]).1.unwrap();
            let got = b.receive_bytes(1);
            assert_eq!((got[0].bytes[0], got[0].ecn), (ds, ds & 3));
        }
    }
}

#[test]
fn answers_leave_from_the_address_that_was_talked_to() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link set lo up");
    namespace.ip("addr add fd00::1/128 dev lo nodad");
    namespace.ip("addr add fd00::2/128 dev lo nodad");
    for (first, second) in [("127.0.0.9", "127.0.0.1"), ("fd00::1", "::1"), ("fd00::2", "fd00::1")] {
        let (a, b) = (Host::new(), Host::new());
        for spoken_to in [first, second] {
            a.send(Endpoint::configured(b.address(spoken_to)), b"hello");
            let heard = b.receive_bytes(5).remove(0).from;
            assert_eq!(heard.source, Some(Source { address: spoken_to.parse().unwrap(), interface: 1 }));
            b.send(heard, b"answer");
            assert_eq!(a.receive_bytes(6)[0].from.remote, b.address(spoken_to));
        }
    }
}

#[test]
fn link_local_peers_are_answered_on_the_link_they_came_by() {
    let (Some(left), Some(right)) = (Namespace::new(), Namespace::new()) else { return };
    left.ip("link add veth0 type veth peer name veth1");
    left.ip(&format!("link set veth1 netns {}", right.name));
    for (namespace, link, address) in [(&left, "veth0", "fe80::1"), (&right, "veth1", "fe80::2")] {
        namespace.ip(&format!("link set {link} addrgenmode none up"));
        namespace.ip(&format!("addr add {address}/64 dev {link} nodad"));
    }
    left.enter_again();
    let a = Host::new();
    right.enter_again();
    let b = Host::new();
    let scope = left.index("veth0");
    a.send(Endpoint::configured(format!("[fe80::2%{scope}]:{}", b.udp.port()).parse().unwrap()), b"hello");
    let heard = b.receive_bytes(5).remove(0).from;
    let interface = right.index("veth1");
    assert_eq!(heard.remote, format!("[fe80::1%{interface}]:{}", a.udp.port()).parse().unwrap());
    assert_eq!(heard.source, Some(Source { address: "fe80::2".parse().unwrap(), interface }));
    b.send(heard, b"answer");
    assert_eq!(a.receive_bytes(6)[0].bytes, b"answer");
}

#[test]
fn a_source_that_is_no_longer_local_is_an_error_about_its_transmit() {
    for (to, source) in [("127.0.0.1", "192.0.2.200"), ("::1", "2001:db8::200")] {
        if !both_loopbacks().contains(&to.parse().unwrap()) {
            continue;
        }
        let (a, b) = (Host::new(), Host::new());
        let good = Endpoint::configured(b.address(to));
        let bad = Endpoint { source: Some(Source { address: source.parse().unwrap(), interface: 1 }), ..good };
        let transmit = |to| Transmit { to, ds: 0, bytes: b"x", segment_len: 1 };
        let (sent, result) = a.udp.send(&[transmit(good), transmit(bad), transmit(good)]);
        assert_eq!(sent, 1);
        let error = result.unwrap_err().raw_os_error().unwrap();
        assert!([libc::EINVAL, libc::EADDRNOTAVAIL, libc::ENETUNREACH].contains(&error), "{error}");
        assert_eq!(b.receive_bytes(1).len(), 1);
    }
}

#[test]
fn a_source_of_the_other_family_is_ignored() {
    let (a, b) = (Host::new(), Host::new());
    let source = Some(Source { address: "2001:db8::1".parse().unwrap(), interface: 1 });
    a.send(Endpoint { remote: b.address("127.0.0.1"), source }, b"x");
    assert_eq!(b.receive_bytes(1).len(), 1);
}

#[test]
fn a_v4_mapped_endpoint_is_an_ipv4_one() {
    let (a, b) = (Host::new(), Host::new());
    a.send(Endpoint::configured(b.address("::ffff:127.0.0.1")), b"x");
    assert_eq!(b.receive_bytes(1)[0].from.remote, a.address("127.0.0.1"));
}

#[test]
fn empty_and_largest_datagrams_are_received() {
    let (a, b) = (Host::new(), Host::new());
    let to = Endpoint::configured(b.address("127.0.0.1"));
    a.send(to, b"");
    a.send(to, &[5; 65_507]);
    a.send(to, b"after");
    let got = b.receive_bytes(65_507 + 5);
    assert_eq!(got.iter().map(|one| one.bytes.len()).collect::<Vec<_>>(), [0, 65_507, 5]);
    assert!(got.iter().all(|one| one.segment_len >= 1), "chunks of this length must not panic");
}

#[test]
fn a_datagram_too_long_is_an_error() {
    let (a, b) = (Host::new(), Host::new());
    let to = Endpoint::configured(b.address("127.0.0.1"));
    let (sent, result) = a.udp.send(&[Transmit { to, ds: 0, bytes: &[0; 65_508], segment_len: 65_508 }]);
    assert_eq!((sent, result.unwrap_err().raw_os_error()), (0, Some(libc::EMSGSIZE)));
}

#[test]
fn a_buffer_that_stays_full_is_an_error_and_not_for_ever() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link add veth0 type veth peer name veth1");
    namespace.ip("link set veth0 up");
    namespace.ip("link set veth1 up");
    namespace.ip("addr add 10.5.0.1/24 dev veth0");
    namespace.ip("neigh add 10.5.0.2 lladdr 02:00:00:00:00:01 dev veth0");
    let queue = "qdisc replace dev veth0 root tbf rate 8kbit burst 2000 limit 1000000000".split(' ');
    if !Command::new("tc").args(queue).output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: needs `tc` and the tbf queue");
    }
    let a = Host::new();
    let to = Endpoint::configured("10.5.0.2:9".parse().unwrap());
    let transmits = [Transmit { to, ds: 0, bytes: &[0; 1400], segment_len: 1400 }; 20_000];
    let (sent, result) = a.udp.send(&transmits);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!((64..20_000).contains(&sent), "{sent}");
    // Setting the link down empties its queue.
    namespace.ip("link set veth0 down");
    namespace.ip("link set veth0 up");
    a.send(to, b"x");
}

#[test]
fn reception_goes_on_when_buffers_are_short() {
    let (a, b) = (Host::new(), Host::new());
    let to = Endpoint::configured(b.address("127.0.0.1"));
    for n in 0..5 {
        a.send(to, &[n]);
    }
    let pool = Pool::new(2);
    let mut batch = UdpBatch::new();
    let mut values = Vec::new();
    for _ in 0..4 {
        batch.refill(&pool);
        b.udp.receive(Families::BOTH, &mut batch).unwrap();
        let messages: Vec<_> = batch.drain().collect();
        assert!(messages.len() <= 2);
        values.extend(messages.iter().map(|message| message.buffer[0]));
        pool.put(messages.into_iter().map(|message| message.buffer));
    }
    assert_eq!(values, [0, 1, 2, 3, 4]);
}

#[test]
fn neither_family_starves_the_other() {
    if both_loopbacks().len() < 2 {
        return;
    }
    let (a, b) = (Host::new(), Host::new());
    for _ in 0..40 {
        a.send(Endpoint::configured(b.address("127.0.0.1")), b"4");
        a.send(Endpoint::configured(b.address("::1")), b"6");
    }
    let pool = Pool::new(8);
    let mut batch = UdpBatch::new();
    let mut families = [0; 2];
    for _ in 0..4 {
        batch.refill(&pool);
        b.udp.receive(Families::BOTH, &mut batch).unwrap();
        let messages: Vec<_> = batch.drain().collect();
        for message in &messages {
            families[usize::from(message.from.remote.is_ipv6())] += 1;
        }
        pool.put(messages.into_iter().map(|message| message.buffer));
    }
    assert_eq!(families, [16, 16]);
}

#[test]
fn a_port_in_use_by_either_family_is_refused() {
    for loopback in both_loopbacks() {
        let other = UdpSocket::bind((loopback, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let error = Host::network().bind(port, 0).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    let host = Host::new();
    assert_eq!(Host::network().bind(host.udp.port(), 0).map(drop).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_closed_port_is_free_again() {
    let host = Host::new();
    let port = host.udp.port();
    drop(host);
    assert_eq!(Host::network().bind(port, 0).unwrap().port(), port);
}

#[test]
fn a_random_port_is_free_for_both_families() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link set lo up");
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
    // Of the four ports IPv4 may choose, three are taken for IPv6.
    let taken: Result<Vec<_>, _> = (40_000..40_003).map(|port| UdpSocket::bind(("::1", port))).collect();
    if taken.is_err() {
        return println!("skipped: no IPv6");
    }
    assert_eq!(Host::network().bind(0, 0).unwrap().port(), 40_003);
}

#[test]
fn without_ipv6_there_is_ipv4() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link set lo up");
    // An error means that there is no IPv6 anyway.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    let (a, b) = (Host::new(), Host::new());
    a.send(Endpoint::configured(b.address("127.0.0.1")), b"x");
    assert_eq!(b.receive_bytes(1).len(), 1);
    let to = Endpoint::configured(b.address("2001:db8::1"));
    assert!(a.udp.send(&[Transmit { to, ds: 0, bytes: b"x", segment_len: 1 }]).1.is_err());
}

#[test]
fn the_mark_decides_the_route() {
    let Some(namespace) = Namespace::enter() else { return };
    namespace.ip("link set lo up");
    namespace.ip("link add one type veth peer name two");
    for (name, subnet) in [("one", "10.1.0"), ("two", "10.2.0")] {
        namespace.ip(&format!("link set {name} up"));
        namespace.ip(&format!("addr add {subnet}.1/24 dev {name}"));
    }
    namespace.ip("route add default via 10.1.0.2");
    namespace.ip("route add default via 10.2.0.2 table 7");
    namespace.ip("rule add fwmark 9 lookup 7");
    let network = Host::network();
    let by = |name, address: &str| Some(Source { address: address.parse().unwrap(), interface: namespace.index(name) });
    let remote = "192.0.2.1:5".parse().unwrap();
    assert_eq!(network.source_towards(remote, 0), by("one", "10.1.0.1"));
    assert_eq!(network.source_towards(remote, 9), by("two", "10.2.0.1"));
    assert_eq!(network.source_towards("[2001:db8::1]:5".parse().unwrap(), 0), None);
    let udp = network.bind(0, 9).unwrap();
    udp.set_mark(0).unwrap();
    udp.set_mark(u32::MAX).unwrap();
}

/// A host's sockets and what they wake.
struct Host {
    udp: Arc<dyn Udp>,
    poller: Arc<LinuxPoller>,
    pool: Pool,
    _stand_in: OwnedFd,
}

struct Message {
    bytes: Vec<u8>,
    segment_len: usize,
    from: Endpoint,
    ecn: u8,
}

impl Host {
    fn new() -> Self {
        let stand_in = stand_in();
        let poller = Arc::new(LinuxPoller::new(stand_in.as_fd()).unwrap());
        let udp =
            LinuxNetwork::new(Arc::clone(&poller), Trains::Any, Placement::default()).unwrap().bind(0, 0).unwrap();
        Self { udp, poller, pool: Pool::new(64), _stand_in: stand_in }
    }

    fn network() -> LinuxNetwork {
        LinuxNetwork::new(Arc::new(LinuxPoller::new(stand_in().as_fd()).unwrap()), Trains::Any, Placement::default())
            .unwrap()
    }

    fn address(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), self.udp.port())
    }

    fn send(&self, to: Endpoint, bytes: &[u8]) {
        let (sent, result) = self.udp.send(&[Transmit { to, ds: 0, bytes, segment_len: bytes.len() }]);
        result.unwrap();
        assert_eq!(sent, 1);
    }

    /// Receives messages until they have `len` bytes in all.
    fn receive_bytes(&self, len: usize) -> Vec<Message> {
        let mut batch = UdpBatch::new();
        let mut got: Vec<Message> = Vec::new();
        while got.iter().map(|one| one.bytes.len()).sum::<usize>() < len {
            await_readable(self.poller.as_fd());
            assert!(self.poller.wait().unwrap().udp.any());
            batch.refill(&self.pool);
            self.udp.receive(Families::BOTH, &mut batch).unwrap();
            for message in batch.drain() {
                got.push(Message {
                    bytes: message.buffer[..message.len].to_vec(),
                    segment_len: message.segment_len,
                    from: message.from,
                    ecn: message.ecn,
                });
                self.pool.put([message.buffer]);
            }
        }
        got
    }
}

/// The loopback addresses this machine has.
fn both_loopbacks() -> Vec<IpAddr> {
    let all = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    all.into_iter().filter(|&ip: &IpAddr| UdpSocket::bind((ip, 0)).is_ok()).collect()
}
