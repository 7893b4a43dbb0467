//! The answer to `get`: the order that `wg` needs, and pieces that do not show.

use super::*;
use crate::means::Offload;

fn text(device: &DeviceStatus, capacity: usize) -> String {
    let mut writer = StatusWriter::new(device);
    let mut all = Vec::new();
    let mut piece = Vec::with_capacity(capacity);
    while writer.fill(&mut piece) {
        assert!(!piece.is_empty());
        all.append(&mut piece);
    }
    String::from_utf8(all).expect("ASCII")
}

#[test]
fn nothing_set_is_nothing_said() {
    assert_eq!(text(&DeviceStatus::default(), 512), "errno=0\n\n");
}

#[test]
fn keys_come_in_the_order_of_the_protocol() {
    let mut peer = PeerStatus::new(PublicKey([2; 32]));
    peer.endpoint = Some("[fe80::1%3]:2000".parse().expect("an address"));
    peer.last_handshake = Some(Duration::new(1_700_000_000, 5));
    peer.tx_bytes = u64::MAX;
    peer.rx_bytes = 7;
    peer.persistent_keepalive = 25;
    peer.name = PeerName::new("Bob's phone");
    peer.is_from_file = true;
    (peer.rate_up, peer.rate_down) = (1_000_000, 7);
    peer.allowed_ips = vec!["10.0.0.0/8".parse().expect("a network"), "::/0".parse().expect("a network")];
    let device = DeviceStatus {
        private_key: Some(SecretKey::new(&[1; 32])),
        listen_port: 51820,
        fwmark: 51820,
        aead: Some(Aead::Avx512),
        offloads: Some([Offload::TunTcp4, Offload::UdpSend].into_iter().collect()),
        peers: vec![peer, PeerStatus::new(PublicKey([3; 32]))],
    };
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=51820\nrvpn_aead=avx512\nrvpn_offload=tun-tcp4,udp-send\n\
         public_key={}\npreshared_key={zero}\nprotocol_version=1\nendpoint=[fe80::1%3]:2000\n\
         last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=7\n\
         persistent_keepalive_interval=25\nrvpn_name=Bob's phone\nrvpn_file=true\nrvpn_rate_up=1000000\nrvpn_rate_down=7\nallowed_ip=10.0.0.0/8\nallowed_ip=::/0\n\
         public_key={}\npreshared_key={zero}\nprotocol_version=1\n\
         last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\n\
         persistent_keepalive_interval=0\nerrno=0\n\n",
        "01".repeat(32),
        "02".repeat(32),
        "03".repeat(32),
        zero = "0".repeat(64)
    );
    assert_eq!(text(&device, 512), expected);
    assert_eq!(text(&device, 100_000), expected);
}

#[test]
fn a_piece_never_outgrows_its_room() {
    let mut peer = PeerStatus::new(PublicKey([2; 32]));
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
    peer.endpoint = Some(longest.parse().expect("an address"));
    peer.preshared_key = Some(SecretKey::new(&[0xff; 32]));
    peer.last_handshake = Some(Duration::MAX);
    (peer.tx_bytes, peer.rx_bytes, peer.persistent_keepalive) = (u64::MAX, u64::MAX, u16::MAX);
    (peer.rate_up, peer.rate_down) = (u64::MAX, u64::MAX);
    peer.name = PeerName::new(&"n".repeat(PeerName::MAX_LEN));
    let private_key = Some(SecretKey::new(&[0xff; 32]));
    let device = DeviceStatus {
        private_key,
        listen_port: u16::MAX,
        fwmark: u32::MAX,
        aead: Some(Aead::PureRust),
        offloads: Some(Offload::ALL.iter().copied().collect()),
        peers: vec![peer.clone(), peer],
    };
    let mut piece = Vec::with_capacity(512);
    let mut writer = StatusWriter::new(&device);
    while writer.fill(&mut piece) {
        assert_eq!(piece.capacity(), 512);
        piece.clear();
    }
}
