//! A kernel in memory that speaks through `netlink-packet-wireguard`, so that neither of our codecs judges itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAllowedIpFlags, WireguardAttribute,
    WireguardCmd, WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
    WireguardTimeSpec,
};
use rvpn_uapi::{AllowedIp, PeerStatus, PublicKey, SecretKey};

use super::*;
use crate::platform::linux::wireguard_driver::HEADERS_LEN;

/// A kernel with devices.
#[derive(Clone, Debug, Default)]
pub(in crate::control::client) struct FakeKernel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    devices: Vec<(String, DeviceStatus)>,
    /// How many allowed IPs fit into a message of an answer; 0: all.
    piece: usize,
    /// How often an answer is interrupted.
    interruptions: usize,
    /// What every change is refused with.
    refusal: Option<io::ErrorKind>,
    /// The lengths of the messages that came.
    changes: Vec<usize>,
}

impl FakeKernel {
    pub(in crate::control::client) fn with(devices: &[&str]) -> Self {
        let kernel = Self::default();
        kernel.state().devices.extend(devices.iter().map(|name| (String::from(*name), DeviceStatus::default())));
        kernel
    }

    pub(in crate::control::client) fn refuse(&self, kind: io::ErrorKind) {
        self.state().refusal = Some(kind);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    fn device(&self, name: &str) -> DeviceStatus {
        self.state().device(name).expect("it is there").clone()
    }
}

impl Kernel for FakeKernel {
    fn interfaces(&self) -> io::Result<Vec<String>> {
        Ok(self.state().devices.iter().map(|(name, _)| name.clone()).collect())
    }

    fn open(&self) -> io::Result<Box<dyn Driver>> {
        Ok(Box::new(self.clone()))
    }
}

impl Driver for FakeKernel {
    fn status(&mut self, message: &mut [u8], each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        let name = name_in(&decode(message));
        let status = state.device(&name)?.clone();
        let piece = if state.piece == 0 { usize::MAX } else { state.piece };
        if state.interruptions > 0 {
            state.interruptions -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        drop(state);
        for attributes in answer_of(&name, &status, piece) {
            let mut bytes = vec![0; attributes.as_slice().buffer_len()];
            attributes.as_slice().emit(&mut bytes);
            each(&bytes)?;
        }
        Ok(())
    }

    fn change(&mut self, message: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.refusal {
            return Err(kind.into());
        }
        state.changes.push(message.len());
        let change = decode(message);
        apply_to(state.device(&name_in(&change))?, change);
        Ok(())
    }
}

impl State {
    fn device(&mut self, name: &str) -> io::Result<&mut DeviceStatus> {
        let device = self.devices.iter_mut().find(|(known, _)| known == name).map(|(_, status)| status);
        device.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

pub(super) fn decode(message: &[u8]) -> WireguardMessage {
    WireguardMessage::parse_with_param(&message[HEADERS_LEN..], GenlHeader { cmd: 1, version: 1 }).expect("readable")
}

fn name_in(message: &WireguardMessage) -> String {
    assert_eq!(message.cmd, WireguardCmd::SetDevice);
    match &message.attributes[..] {
        [WireguardAttribute::IfName(name), ..] => name.clone(),
        other => panic!("the name comes first: {} attributes", other.len()),
    }
}

/// Does what the driver does: device first, then peers one after another.
pub(super) fn apply_to(device: &mut DeviceStatus, change: WireguardMessage) {
    for attribute in change.attributes {
        match attribute {
            WireguardAttribute::IfName(_) => {}
            WireguardAttribute::PrivateKey(key) => {
                device.private_key = Some(SecretKey::new(&key)).filter(|key| !key.is_zero());
            }
            WireguardAttribute::ListenPort(port) => device.listen_port = port,
            WireguardAttribute::Fwmark(mark) => device.fwmark = mark,
            WireguardAttribute::Flags(flags) => {
                assert_eq!(flags, WireguardDeviceFlags::ReplacePeers);
                device.peers.clear();
            }
            WireguardAttribute::Peers(peers) => peers.into_iter().for_each(|peer| apply_peer(device, peer.0)),
            other => panic!("not in a change: {}", netlink_packet_core::Nla::kind(&other)),
        }
    }
}

fn apply_peer(device: &mut DeviceStatus, attributes: Vec<WireguardPeerAttribute>) {
    let [WireguardPeerAttribute::PublicKey(key), ..] = attributes[..] else { panic!("the key comes first") };
    let flags = attributes.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(WireguardPeerFlags::empty());
    let known = device.peers.iter().position(|peer| peer.public_key.0 == key);
    if flags.contains(WireguardPeerFlags::RemoveMe) {
        known.map(|at| device.peers.remove(at));
        return;
    }
    if known.is_none() && flags.contains(WireguardPeerFlags::UpdateOnly) {
        return;
    }
    let at = known.unwrap_or_else(|| {
        device.peers.push(PeerStatus::new(PublicKey(key)));
        device.peers.len() - 1
    });
    if flags.contains(WireguardPeerFlags::ReplaceAllowedIps) {
        device.peers[at].allowed_ips.clear();
    }
    for attribute in attributes {
        let peer = &mut device.peers[at];
        match attribute {
            WireguardPeerAttribute::PresharedKey(key) => {
                peer.preshared_key = Some(SecretKey::new(&key)).filter(|key| !key.is_zero());
            }
            WireguardPeerAttribute::Endpoint(endpoint) => peer.endpoint = Some(endpoint),
            WireguardPeerAttribute::PersistentKeepalive(interval) => peer.persistent_keepalive = interval,
            WireguardPeerAttribute::AllowedIps(networks) => {
                networks.into_iter().for_each(|network| apply_allowed_ip(device, at, &network.0));
            }
            _ => {}
        }
    }
}

fn apply_allowed_ip(device: &mut DeviceStatus, at: usize, attributes: &[WireguardAllowedIpAttr]) {
    let (mut family, mut address, mut len, mut is_removed) = (None, None, None, false);
    for attribute in attributes {
        match attribute {
            WireguardAllowedIpAttr::Family(value) => family = Some(*value),
            WireguardAllowedIpAttr::IpAddr(value) => address = Some(*value),
            WireguardAllowedIpAttr::Cidr(value) => len = Some(*value),
            WireguardAllowedIpAttr::Flags(flags) => is_removed = *flags == WireguardAllowedIpFlags::RemoveMe,
            _ => panic!("an attribute nobody knows"),
        }
    }
    let (address, len) = (address.expect("an address"), len.expect("a length"));
    let expected = if address.is_ipv4() { WireguardAddressFamily::Ipv4 } else { WireguardAddressFamily::Ipv6 };
    assert_eq!(family, Some(expected));
    let network = AllowedIp::new(address, len).expect("a network");
    if is_removed {
        device.peers[at].allowed_ips.retain(|known| *known != network);
        return;
    }
    for peer in &mut device.peers {
        peer.allowed_ips.retain(|known| *known != network);
    }
    device.peers[at].allowed_ips.push(network);
}

/// The messages of an answer, with `piece` allowed IPs in each.
pub(super) fn answer_of(name: &str, status: &DeviceStatus, piece: usize) -> Vec<Vec<WireguardAttribute>> {
    let mut device = vec![WireguardAttribute::IfIndex(7), WireguardAttribute::IfName(name.to_owned())];
    device.extend([WireguardAttribute::ListenPort(status.listen_port), WireguardAttribute::Fwmark(status.fwmark)]);
    if let Some(key) = &status.private_key {
        device.extend([WireguardAttribute::PrivateKey(*key.as_bytes()), WireguardAttribute::PublicKey([9; 32])]);
    }
    let (mut messages, mut peers, mut room) = (Vec::new(), Vec::new(), piece);
    for peer in &status.peers {
        let mut attributes = vec![
            WireguardPeerAttribute::PublicKey(peer.public_key.0),
            WireguardPeerAttribute::PresharedKey(peer.preshared_key.as_ref().map_or([0; 32], |key| *key.as_bytes())),
        ];
        let handshake = peer.last_handshake.unwrap_or_default();
        attributes.extend([
            WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
                seconds: handshake.as_secs() as i64,
                nano_seconds: handshake.subsec_nanos().into(),
            }),
            WireguardPeerAttribute::PersistentKeepalive(peer.persistent_keepalive),
            WireguardPeerAttribute::TxBytes(peer.tx_bytes),
            WireguardPeerAttribute::RxBytes(peer.rx_bytes),
            WireguardPeerAttribute::ProtocolVersion(1),
        ]);
        attributes.extend(peer.endpoint.map(WireguardPeerAttribute::Endpoint));
        let mut networks = peer.allowed_ips.iter().map(described);
        loop {
            let some: Vec<_> = networks.by_ref().take(room).collect();
            room -= some.len();
            attributes.push(WireguardPeerAttribute::AllowedIps(some));
            peers.push(WireguardPeer(std::mem::take(&mut attributes)));
            if room > 0 || networks.len() == 0 {
                break;
            }
            device.push(WireguardAttribute::Peers(std::mem::take(&mut peers)));
            messages.push(std::mem::replace(&mut device, vec![WireguardAttribute::IfName(name.to_owned())]));
            attributes.push(WireguardPeerAttribute::PublicKey(peer.public_key.0));
            room = piece;
        }
    }
    device.push(WireguardAttribute::Peers(peers));
    messages.push(device);
    messages
}

fn described(network: &AllowedIp) -> WireguardAllowedIp {
    let family = if network.address().is_ipv4() { WireguardAddressFamily::Ipv4 } else { WireguardAddressFamily::Ipv6 };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Cidr(network.prefix_len()),
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(network.address()),
    ])
}

/// A change of everything there is to change, of peers with `networks` allowed IPs each.
pub(super) fn big_set(peers: u8, networks: u8) -> Set {
    let peer = |n: u8| {
        let mut peer = PeerSet::new(PublicKey([n; 32]));
        peer.replace_allowed_ips = n.is_multiple_of(2);
        peer.preshared_key = n.is_multiple_of(3).then(|| SecretKey::new(&[!n; 32]));
        peer.endpoint = match n % 3 {
            0 => None,
            1 => Some(([192, 0, 2, n], 51820).into()),
            _ => format!("[fe80::{n}%{n}]:7").parse().ok(),
        };
        peer.persistent_keepalive = n.is_multiple_of(4).then_some(25);
        peer.allowed_ips = (0..networks)
            .map(|m| {
                let text = if m % 2 == 0 { format!("10.{n}.{m}.0/24") } else { format!("fd{n:02x}::{m:x}/128") };
                AllowedIpChange::Add(text.parse().expect("a network"))
            })
            .collect();
        peer
    };
    Set {
        private_key: Some(SecretKey::new(&[1; 32])),
        listen_port: Some(51820),
        fwmark: Some(0xca6c),
        replace_peers: true,
        peers: (1..=peers).map(peer).collect(),
    }
}

#[test]
fn what_is_set_is_read_back_in_pieces_of_any_size() {
    let kernel = FakeKernel::with(&["wg0"]);
    let set = big_set(5, 7);
    apply(&kernel, "wg0", &set).expect("applied");
    let whole = kernel.device("wg0");
    assert_eq!((whole.listen_port, whole.fwmark, whole.peers.len()), (51820, 0xca6c, 5));
    assert!(whole.peers.iter().all(|peer| peer.allowed_ips.len() == 7));
    assert_eq!(whole.peers[1].endpoint, "[fe80::2%2]:7".parse().ok());
    assert_eq!(whole.peers[2].preshared_key, Some(SecretKey::new(&[!3; 32])));
    for piece in 0..40 {
        kernel.state().piece = piece;
        assert_eq!(status(&kernel, "wg0").expect("read"), whole, "{piece}");
    }
}

#[test]
fn times_and_counters_are_read() {
    let kernel = FakeKernel::with(&["wg0"]);
    apply(&kernel, "wg0", &big_set(1, 0)).expect("applied");
    {
        let peer = &mut kernel.state().devices[0].1.peers[0];
        (peer.tx_bytes, peer.rx_bytes, peer.last_handshake) = (u64::MAX, 1, Some(Duration::new(1_700_000_000, 5)));
    }
    let read = status(&kernel, "wg0").expect("read");
    assert_eq!(read, kernel.device("wg0"));
}

#[test]
fn an_answer_that_was_interrupted_is_asked_for_again_but_not_for_ever() {
    let kernel = FakeKernel::with(&["wg0"]);
    kernel.state().interruptions = 3;
    assert!(status(&kernel, "wg0").is_ok());
    kernel.state().interruptions = usize::MAX;
    let error = status(&kernel, "wg0").expect_err("it never ends");
    assert_eq!(error.to_string(), "it is changed faster than it can be read");
}

#[test]
fn a_driver_that_cannot_remove_single_networks_is_told_apart() {
    let kernel = FakeKernel::with(&["wg0"]);
    kernel.refuse(io::ErrorKind::InvalidInput);
    let refusal = |set: &Set| apply(&kernel, "wg0", set).expect_err("refused").to_string();
    let mut set = big_set(1, 1);
    assert_eq!(refusal(&set), "invalid input parameter");
    set.peers[0].allowed_ips.push(AllowedIpChange::Remove("10.0.0.0/8".parse().expect("a network")));
    assert!(refusal(&set).starts_with("drivers before Linux 6.16"));
}

#[test]
fn thousands_of_peers_and_networks_go_in_messages_that_the_kernel_takes() {
    let kernel = FakeKernel::with(&["wg0"]);
    let mut set = big_set(200, 3);
    let many = (0..=255).flat_map(|n| {
        (0..40).map(move |m| AllowedIpChange::Add(AllowedIp::new([11, n, m, 0].into(), 24).expect("one")))
    });
    set.peers[7].allowed_ips.extend(many);
    apply(&kernel, "wg0", &set).expect("applied");
    let device = kernel.device("wg0");
    assert_eq!((device.peers.len(), device.peers[7].allowed_ips.len()), (200, 3 + 256 * 40));
    let state = kernel.state();
    assert!(state.changes.len() >= 10 && state.changes.iter().all(|&len| len <= MESSAGE_LEN), "{:?}", state.changes);
}
