//! Answers: what is written is read back, and what other servers say is understood.

use proptest::prelude::*;

use super::*;
use crate::endpoint::no_scopes;
use crate::means::{Aead, Offload};
use crate::request::tests::{any_candidate, any_endpoint, any_name, any_network, any_secret};
use crate::status::StatusWriter;

fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Reply, ParseError> {
    let mut parser = ReplyParser::new(Arc::new(no_scopes));
    for mut chunk in chunks {
        if let Some(reply) = parser.next(&mut chunk)? {
            return Ok(reply);
        }
    }
    Err(parser.incomplete())
}

fn fault(text: &str) -> Fault {
    parse([text.as_bytes()]).expect_err("a bad answer").fault
}

#[test]
fn an_errno_counts_with_either_sign() {
    let error = |text: &str| parse([text.as_bytes()]).map(|reply| reply.error);
    assert_eq!(error("errno=0\n\n"), Ok(None));
    assert_eq!(error("errno=-98\n\n"), Ok(Some(Errno::ADDRESS_IN_USE)));
    assert_eq!(error("errno=98\n\n"), Ok(Some(Errno::ADDRESS_IN_USE)));
}

#[test]
fn an_answer_needs_an_errno_and_an_end() {
    assert_eq!(fault("\n"), Fault::Incomplete);
    assert_eq!(fault("listen_port=1\n\n"), Fault::Incomplete);
    assert_eq!(fault("errno=0\n"), Fault::Incomplete);
    assert_eq!(fault(""), Fault::Incomplete);
    assert_eq!(fault("errno=x\n\n"), Fault::BadValue(Key::Errno));
    assert_eq!(fault("hello\n"), Fault::NoEquals);
    assert_eq!(fault("listen_port=x\n"), Fault::BadValue(Key::ListenPort));
}

#[test]
fn unknown_keys_are_passed_over() {
    let text = format!("rvpn_x=1\nrx_bytes=1\npublic_key={}\nnew_thing=2\nlisten_port=7\nerrno=0\n\n", "01".repeat(32));
    let reply = parse([text.as_bytes()]).expect("an answer");
    assert_eq!(reply.status.peers, [PeerStatus::new(PublicKey([1; 32]))]);
    assert_eq!(reply.status.listen_port, 0);
}

#[test]
fn means_of_another_release_are_no_fault() {
    let reply = parse([&b"rvpn_aead=avx1024\nrvpn_offload=teleport,udp-send\nerrno=0\n\n"[..]]).expect("an answer");
    assert_eq!((reply.status.aead, reply.status.offloads), (None, Some([Offload::UdpSend].into_iter().collect())));
}

#[test]
fn nanoseconds_of_a_whole_second_are_refused() {
    let key = "01".repeat(32);
    let text = format!(
        "public_key={key}\nlast_handshake_time_sec=18446744073709551615\nlast_handshake_time_nsec=1000000000\n"
    );
    assert_eq!(fault(&text), Fault::BadValue(Key::LastHandshakeNanoseconds));
}

prop_compose! {
    fn any_peer()(
        key in any::<[u8; 32]>(),
        name in proptest::option::of(any_name()),
        is_from_file in any::<bool>(),
        rates in any::<[u64; 2]>(),
        preshared_key in proptest::option::of(any_secret()),
        endpoint in proptest::option::of(any_endpoint()),
        endpoints in proptest::collection::vec(any_candidate(), 0..4),
        endpoint_order in proptest::sample::select(&[EndpointOrder::Fastest, EndpointOrder::Strict]),
        handshake in any::<Option<(u64, u32)>>(),
        bytes in any::<(u64, u64)>(),
        persistent_keepalive in any::<u16>(),
        allowed_ips in proptest::collection::vec(any_network(), 0..4),
    ) -> PeerStatus {
        PeerStatus {
            public_key: PublicKey(key),
            name,
            is_from_file,
            rate_up: rates[0],
            rate_down: rates[1],
            preshared_key: preshared_key.filter(|key| !key.is_zero()),
            endpoint,
            endpoints,
            endpoint_order,
            last_handshake: handshake.and_then(|(s, ns)| at(Duration::new(s, ns % 1_000_000_000))),
            tx_bytes: bytes.0,
            rx_bytes: bytes.1,
            persistent_keepalive,
            allowed_ips,
        }
    }
}

prop_compose! {
    fn any_status()(
        private_key in proptest::option::of(any_secret()),
        listen_port in any::<u16>(),
        fwmark in any::<u32>(),
        aead in proptest::option::of(proptest::sample::select(Aead::ALL)),
        offloads in proptest::option::of(proptest::sample::subsequence(Offload::ALL, 0..=Offload::ALL.len())),
        peers in proptest::collection::vec(any_peer(), 0..5),
    ) -> DeviceStatus {
        DeviceStatus {
            private_key: private_key.filter(|key| !key.is_zero()),
            listen_port,
            fwmark,
            aead,
            offloads: offloads.map(Offloads::from_iter),
            peers,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(status in any_status(), size in 1..700usize) {
        let mut text = Vec::new();
        let mut writer = StatusWriter::new(&status);
        while writer.fill(&mut text) {}
        prop_assert_eq!(parse(text.chunks(size)), Ok(Reply { error: None, status }));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse([&bytes[..]]);
        let key = format!("public_key={}\n", "01".repeat(32));
        let _ = parse([key.as_bytes(), &bytes[..]]);
    }
}
