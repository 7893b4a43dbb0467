//! Requests: each rule of the protocol, and what holds for any bytes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use proptest::prelude::*;

use super::*;
use crate::allowed_ip::AllowedIp;
use crate::candidate::{Candidate, EndpointOrder};
use crate::endpoint::no_scopes;
use crate::line::MAX_LINE_LEN;

fn parser() -> RequestParser {
    RequestParser::new(Arc::new(|name| (name == "lo").then_some(1)))
}

/// Everything found in a stream that comes in these pieces and then ends.
fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<RequestEvent> {
    let mut parser = parser();
    let mut events = Vec::new();
    for mut chunk in chunks {
        while let Some(event) = parser.next(&mut chunk) {
            events.push(event);
        }
    }
    events.extend(parser.finish());
    events
}

fn set(text: &str) -> Set {
    match events([text.as_bytes()]).as_slice() {
        [RequestEvent::Request(Request::Set(set))] => set.clone(),
        other => panic!("{other:?}"),
    }
}

fn fault(text: &str) -> (u64, Fault, u16) {
    match events([text.as_bytes()]).as_slice() {
        [RequestEvent::Invalid { error, .. }] => (error.line, error.fault, error.errno().value()),
        other => panic!("{other:?}"),
    }
}

fn peer_text(lines: &str) -> String {
    format!("set=1\npublic_key={}\n{lines}\n\n", "ab".repeat(32))
}

#[test]
fn every_key_of_the_device_is_read() {
    let text =
        format!("set=1\nprivate_key={}\nlisten_port=51820\nfwmark=4294967295\nreplace_peers=true\n\n", "01".repeat(32));
    let set = set(&text);
    assert_eq!(set.private_key, Some(SecretKey::new(&[1; 32])));
    assert_eq!((set.listen_port, set.fwmark, set.replace_peers), (Some(51820), Some(u32::MAX), true));
}

#[test]
fn every_key_of_a_peer_is_read() {
    let zero = "0".repeat(64);
    let set = set(&peer_text(&format!(
        "update_only=true\nremove=true\nprotocol_version=1\npreshared_key={zero}\nendpoint=[fe80::1%lo]:2000\n\
         persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.0.0.5/24\nallowed_ip=-fd00::1/64"
    )));
    let peer = &set.peers[0];
    assert!(peer.remove && peer.update_only && peer.replace_allowed_ips);
    assert!(peer.preshared_key.as_ref().is_some_and(SecretKey::is_zero), "zero is a request to remove");
    assert_eq!(peer.endpoint, Some("[fe80::1%1]:2000".parse().expect("an address")));
    assert_eq!(peer.persistent_keepalive, Some(25));
    assert_eq!(
        peer.allowed_ips,
        [
            AllowedIpChange::Add("10.0.0.0/24".parse().expect("a network")),
            AllowedIpChange::Remove("fd00::/64".parse().expect("a network")),
        ]
    );
}

#[test]
fn an_absent_key_changes_nothing() {
    assert_eq!(set("set=1\n\n"), Set::default());
    assert_eq!(set(&peer_text("protocol_version=1")).peers, [PeerSet::new(PublicKey([0xab; 32]))]);
}

#[test]
fn a_line_without_an_equals_sign_is_a_protocol_error() {
    assert_eq!(fault("set=1\nlisten_port=1\nhello\n\n"), (3, Fault::NoEquals, 71));
}

#[test]
fn bad_values_and_unknown_keys_are_invalid_arguments() {
    assert_eq!(fault("set=1\nnonsense=1\n\n"), (2, Fault::UnknownKey, 22));
    for (key, value) in [
        (Key::PrivateKey, "00"),
        (Key::ListenPort, "65536"),
        (Key::ListenPort, "-1"),
        (Key::Fwmark, "0x1"),
        (Key::ReplacePeers, "false"),
        (Key::PublicKey, "zz"),
    ] {
        assert_eq!(fault(&format!("set=1\n{key}={value}\n\n")), (2, Fault::BadValue(key), 22));
    }
    for (key, value) in [
        (Key::Remove, "false"),
        (Key::UpdateOnly, "1"),
        (Key::PresharedKey, ""),
        (Key::Endpoint, "example.org:1"),
        (Key::PersistentKeepalive, "off"),
        (Key::ReplaceAllowedIps, "TRUE"),
        (Key::AllowedIp, "10.0.0.0/33"),
        (Key::ProtocolVersion, "2"),
    ] {
        assert_eq!(fault(&peer_text(&format!("{key}={value}"))), (3, Fault::BadValue(key), 22));
    }
}

#[test]
fn keys_of_the_device_and_of_peers_do_not_mix() {
    assert_eq!(fault("set=1\nremove=true\n\n").1, Fault::Misplaced(Key::Remove));
    assert_eq!(fault(&peer_text("listen_port=1")).1, Fault::Misplaced(Key::ListenPort));
    assert_eq!(fault(&peer_text("rx_bytes=1")), (3, Fault::Misplaced(Key::RxBytes), 22));
}

#[test]
fn get_takes_nothing_but_an_empty_line() {
    assert_eq!(events([&b"get=1\n\n"[..]]), [RequestEvent::Request(Request::Get)]);
    assert_eq!(fault("get=1\nlisten_port=1\n\n"), (2, Fault::TrailingByte, 22));
}

#[test]
fn several_requests_follow_one_another_and_a_fault_is_not_carried_over() {
    let found = events([&b"get=1\n\nset=1\nx\nlisten_port=1\n\nset=1\nlisten_port=2\n\nget=1\n\n"[..]]);
    assert_eq!(found.len(), 4);
    assert!(matches!(found[1], RequestEvent::Invalid { operation: Operation::Set, .. }));
    assert_eq!(found[2], RequestEvent::Request(Request::Set(Set { listen_port: Some(2), ..Set::default() })));
    assert_eq!(found[3], RequestEvent::Request(Request::Get));
}

#[test]
fn lines_are_counted_from_the_beginning_of_each_request() {
    let found = events([&b"get=1\n\nset=1\nx\n\nset=1\nx\n\n"[..]]);
    for event in &found[1..] {
        assert!(matches!(event, RequestEvent::Invalid { error: ParseError { line: 2, .. }, .. }), "{event:?}");
    }
}

#[test]
fn an_unknown_first_line_closes_the_stream() {
    for text in ["\n", "get=2\n\n", "hello\nget=1\n\n", "GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(events([text.as_bytes()]), [RequestEvent::UnknownOperation]);
    }
}

#[test]
fn the_end_of_the_stream_replaces_the_empty_line_but_not_the_end_of_a_line() {
    assert_eq!(set("set=1\nlisten_port=5\n").listen_port, Some(5));
    assert_eq!(events([&b"get=1\n"[..]]), [RequestEvent::Request(Request::Get)]);
    assert_eq!(fault("set=1\nlisten_port=5"), (2, Fault::CutOff, 71));
    assert_eq!(events([&b""[..]]), [], "a probe");
    assert_eq!(events([&b"get=1"[..]]), []);
    assert_eq!(events([&b"set=1\nx\nlisten_port"[..]]).len(), 1, "the fault was reported before");
}

#[test]
fn a_line_that_is_too_long_ends_the_stream() {
    let long = format!("set=1\nendpoint={}\n\nget=1\n\n", "x".repeat(MAX_LINE_LEN));
    assert_eq!(fault(&long), (2, Fault::LineTooLong, 71));
    let found = events([&vec![b'x'; MAX_LINE_LEN + 1][..]]);
    assert_eq!(found, [RequestEvent::UnknownOperation]);
    let after_a_fault = format!("set=1\nx\n{}\n\nget=1\n\n", "x".repeat(MAX_LINE_LEN + 1));
    assert_eq!(events([after_a_fault.as_bytes()]).len(), 1);
}

#[test]
fn a_request_that_is_too_long_ends_the_stream() {
    let mut parser = parser();
    assert_eq!(parser.next(&mut &b"set=1\n"[..]), None);
    let line = b"listen_port=1\n".repeat(1024);
    let mut sent = 0;
    let event = loop {
        if let Some(event) = parser.next(&mut &line[..]) {
            break event;
        }
        sent += line.len();
        assert!(sent <= MAX_REQUEST_LEN, "nothing stops it");
    };
    assert!(matches!(event, RequestEvent::Invalid { error: ParseError { fault: Fault::RequestTooLong, .. }, .. }));
    assert!(parser.is_closed() && sent > MAX_REQUEST_LEN - 2 * line.len());
}

#[test]
fn replacing_allowed_ips_drops_those_named_above_it() {
    let set = set(&peer_text("allowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=10.1.0.0/16"));
    assert_eq!(set.peers[0].allowed_ips, [AllowedIpChange::Add("10.1.0.0/16".parse().expect("a network"))]);
}

#[test]
fn errors_are_negative_in_answers_to_set_and_positive_in_answers_to_get() {
    let answer = |operation, error| {
        let mut out = Vec::new();
        write_errno(&mut out, operation, error);
        String::from_utf8(out).expect("ASCII")
    };
    assert_eq!(answer(Operation::Set, Some(Errno::ADDRESS_IN_USE)), "errno=-98\n\n");
    assert_eq!(answer(Operation::Get, Some(Errno::IO)), "errno=5\n\n");
    assert_eq!(answer(Operation::Set, None), "errno=0\n\n");
}

#[test]
fn a_request_with_100_000_peers_fits() {
    let mut text = Vec::new();
    write_set(&Set { peers: many_peers(100_000), replace_peers: true, ..Set::default() }, &mut text);
    let found = events(text.chunks(16 * 1024));
    let [RequestEvent::Request(Request::Set(set))] = found.as_slice() else { panic!("refused") };
    assert_eq!(set.peers.len(), 100_000);
}

fn many_peers(count: u32) -> Vec<PeerSet> {
    (0..count)
        .map(|index| {
            let mut key = [0x5a; 32];
            key[..4].copy_from_slice(&index.to_be_bytes());
            PeerSet {
                preshared_key: Some(SecretKey::new(&key)),
                endpoint: Some(SocketAddr::from((index.to_be_bytes(), 51820))),
                persistent_keepalive: Some(25),
                replace_allowed_ips: true,
                allowed_ips: vec![
                    AllowedIpChange::Add(AllowedIp::new(index.to_be_bytes().into(), 32).expect("32 bits")),
                    AllowedIpChange::Add(
                        AllowedIp::new("fd00::1".parse().expect("an address"), 128).expect("128 bits"),
                    ),
                ],
                ..PeerSet::new(PublicKey(key))
            }
        })
        .collect()
}

pub(crate) fn any_name() -> impl Strategy<Value = PeerName> {
    "[a-zäöü][ -!$-~]{0,20}[a-z=]".prop_filter_map("no name", |text| PeerName::new(&text))
}

pub(crate) fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

pub(crate) fn any_endpoint() -> impl Strategy<Value = SocketAddr> {
    (any_address(), any::<u16>(), any::<u32>()).prop_map(|(address, port, scope)| match address {
        IpAddr::V4(_) => SocketAddr::new(address, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    })
}

pub(crate) fn any_network() -> impl Strategy<Value = AllowedIp> {
    (any_address(), 0..=128u8).prop_map(|(address, len)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        AllowedIp::new(address, len.min(longest)).expect("within bounds")
    })
}

pub(crate) fn any_secret() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(|bytes| SecretKey::new(&bytes))
}

fn any_change() -> impl Strategy<Value = AllowedIpChange> {
    (any_network(), any::<bool>()).prop_map(|(network, remove)| {
        if remove { AllowedIpChange::Remove(network) } else { AllowedIpChange::Add(network) }
    })
}

pub(crate) fn any_candidate() -> impl Strategy<Value = Candidate> {
    prop_oneof![
        any_endpoint().prop_map(Candidate::Address),
        ("[a-z]{1,9}(\\.[a-z]{1,9}){0,3}", any::<u16>()).prop_map(|(host, port)| Candidate::Name { host, port }),
    ]
}

prop_compose! {
    fn any_peer()(
        key in any::<[u8; 32]>(),
        flags in any::<[bool; 3]>(),
        name in proptest::option::of(proptest::option::of(any_name())),
        rates in any::<[Option<u64>; 2]>(),
        preshared_key in proptest::option::of(any_secret()),
        endpoint in proptest::option::of(any_endpoint()),
        endpoints in proptest::option::of(proptest::collection::vec(any_candidate(), 0..4)),
        endpoint_order in proptest::option::of(proptest::sample::select(&[EndpointOrder::Fastest, EndpointOrder::Strict])),
        persistent_keepalive in any::<Option<u16>>(),
        allowed_ips in proptest::collection::vec(any_change(), 0..4),
    ) -> PeerSet {
        let [rate_up, rate_down] = rates;
        let [remove, update_only, replace_allowed_ips] = flags;
        let public_key = PublicKey(key);
        PeerSet {
            public_key, remove, update_only, name, rate_up, rate_down, preshared_key, endpoint, endpoints, endpoint_order, persistent_keepalive,
            replace_allowed_ips, allowed_ips,
        }
    }
}

prop_compose! {
    fn any_set()(
        private_key in proptest::option::of(any_secret()),
        listen_port in any::<Option<u16>>(),
        fwmark in any::<Option<u32>>(),
        replace_peers in any::<bool>(),
        peers in proptest::collection::vec(any_peer(), 0..5),
    ) -> Set {
        Set { private_key, listen_port, fwmark, replace_peers, peers }
    }
}

/// Text that is near enough to the protocol to get far.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just("set=1\n".to_string()),
        Just("get=1\n".to_string()),
        Just("\n".to_string()),
        Just(format!("public_key={}\n", "1f".repeat(32))),
        Just("allowed_ip=10.0.0.1/8\n".to_string()),
        Just("endpoint=[fe80::1%lo]:1\n".to_string()),
        Just("listen_port=1\n".to_string()),
        "[a-z_]{0,6}=?[0-9]{0,3}\n?",
    ];
    proptest::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(set in any_set()) {
        let mut text = Vec::new();
        write_set(&set, &mut text);
        prop_assert_eq!(events([&text[..]]), [RequestEvent::Request(Request::Set(set))]);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        events([&bytes[..]]);
        events([b"set=1\n", &bytes[..]]);
        events([b"set=1\n", format!("public_key={}\n", "1f".repeat(32)).as_bytes(), &bytes[..]]);
    }

    #[test]
    fn pieces_do_not_matter(text in any_text(), sizes in proptest::collection::vec(1..40usize, 1..40)) {
        let mut rest = &text[..];
        let mut chunks = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        prop_assert_eq!(events(chunks), events([&text[..]]));
    }
}

#[test]
fn a_parser_may_know_no_interfaces() {
    let mut parser = RequestParser::new(Arc::new(no_scopes));
    let text = peer_text("endpoint=[fe80::1%lo]:2000");
    assert!(matches!(parser.next(&mut text.as_bytes()), Some(RequestEvent::Invalid { .. })));
}
