//! The state of interfaces as JSON: docs/json.md says what each key means and what may change.
//!
//! Private and preshared keys are in it under the same condition as in the text for people: `WG_HIDE_KEYS=never`.

use std::io::{self, Write};
use std::net::SocketAddr;

use rvpn_uapi::{Aead, DeviceStatus, Offload, PeerStatus, SecretKey};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::control::calendar::rfc_3339;
use crate::control::cli::pubkey::public_key;
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;

#[derive(Serialize)]
struct Document {
    version: u32,
    interfaces: Vec<Interface>,
}

#[derive(Serialize)]
struct Names<'a> {
    version: u32,
    interfaces: &'a [String],
}

#[derive(Serialize)]
struct Interface {
    name: String,
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<Secret>,
    listen_port: Option<u16>,
    fwmark: Option<u32>,
    aead: Option<&'static str>,
    offloads: Option<Vec<&'static str>>,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    public_key: String,
    name: Option<String>,
    from_file: bool,
    rate_up: Option<u64>,
    rate_down: Option<u64>,
    has_preshared_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    preshared_key: Option<Secret>,
    endpoint: Option<String>,
    endpoints: Vec<String>,
    allowed_ips: Vec<String>,
    latest_handshake: Option<String>,
    rx_bytes: u64,
    tx_bytes: u64,
    persistent_keepalive: Option<u16>,
}

/// Written with the text of a key, which is wiped on drop.
struct Secret(Zeroizing<String>);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The number of the set of keys: it grows when a key goes or changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// Writes one document, on one line.
pub(super) fn write(states: &[(String, DeviceStatus)], shows_keys: bool, out: &mut dyn Write) -> io::Result<()> {
    let interfaces = states.iter().map(|(name, status)| interface(name, status, shows_keys)).collect();
    serde_json::to_writer(&mut *out, &Document { version: VERSION, interfaces })?;
    writeln!(out)
}

/// Writes the names of interfaces alone.
pub(super) fn write_names(names: &[String], out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Names { version: VERSION, interfaces: names })?;
    writeln!(out)
}

fn interface(name: &str, status: &DeviceStatus, shows_keys: bool) -> Interface {
    Interface {
        name: name.to_owned(),
        public_key: status.private_key.as_ref().map(|key| key_text::encode(&public_key(key)).to_string()),
        private_key: secret(status.private_key.as_ref(), shows_keys),
        listen_port: Some(status.listen_port).filter(|&port| port != 0),
        fwmark: Some(status.fwmark).filter(|&mark| mark != 0),
        aead: status.aead.map(Aead::as_str),
        offloads: status.offloads.map(|offloads| offloads.iter().map(Offload::as_str).collect()),
        peers: status.peers.iter().map(|status| peer(status, shows_keys)).collect(),
    }
}

fn peer(status: &PeerStatus, shows_keys: bool) -> Peer {
    let network =
        |network: &rvpn_uapi::AllowedIp| format!("{}/{}", address_text(network.address()), network.prefix_len());
    Peer {
        public_key: key_text::encode(&status.public_key.0).to_string(),
        name: status.name.as_ref().map(ToString::to_string),
        from_file: status.is_from_file,
        rate_up: Some(status.rate_up).filter(|&rate| rate != 0),
        rate_down: Some(status.rate_down).filter(|&rate| rate != 0),
        has_preshared_key: status.preshared_key.is_some(),
        preshared_key: secret(status.preshared_key.as_ref(), shows_keys),
        endpoint: status.endpoint.map(|endpoint: SocketAddr| endpoint_text(endpoint)),
        endpoints: status.endpoints.iter().map(ToString::to_string).collect(),
        allowed_ips: status.allowed_ips.iter().map(network).collect(),
        latest_handshake: status.last_handshake.map(rfc_3339),
        rx_bytes: status.rx_bytes,
        tx_bytes: status.tx_bytes,
        persistent_keepalive: Some(status.persistent_keepalive).filter(|&seconds| seconds != 0),
    }
}

fn secret(key: Option<&SecretKey>, shows_keys: bool) -> Option<Secret> {
    key.filter(|_| shows_keys).map(|key| Secret(key_text::encode(key.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rvpn_uapi::{PeerName, PublicKey};
    use serde_json::{Value, json};

    use super::*;

    fn document(shows_keys: bool) -> Value {
        let peer = PeerStatus {
            name: PeerName::new("alice"),
            is_from_file: true,
            rate_down: 7,
            preshared_key: Some(SecretKey::new(&[2; 32])),
            endpoint: "192.0.2.1:51820".parse().ok(),
            last_handshake: Some(Duration::from_secs(1)),
            rx_bytes: u64::MAX,
            persistent_keepalive: 25,
            allowed_ips: vec!["10.0.0.0/24".parse().expect("a network"), "::/0".parse().expect("a network")],
            ..PeerStatus::new(PublicKey([1; 32]))
        };
        let bare = PeerStatus::new(PublicKey([3; 32]));
        let status = DeviceStatus {
            private_key: Some(SecretKey::new(&[64; 32])),
            listen_port: 51820,
            fwmark: 0,
            aead: Some(Aead::AwsLc),
            offloads: Some([Offload::TunTcp4, Offload::UdpSend].into_iter().collect()),
            peers: vec![peer, bare],
        };
        let mut out = Vec::new();
        write(&[("wg0".to_owned(), status)], shows_keys, &mut out).expect("memory");
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let document = document(false);
        assert_eq!(document["version"], 1);
        let interface = &document["interfaces"][0];
        assert_eq!((&interface["name"], &interface["fwmark"]), (&json!("wg0"), &Value::Null));
        assert_eq!(interface["aead"], "aws-lc");
        assert_eq!(interface["offloads"], json!(["tun-tcp4", "udp-send"]));
        assert_eq!(
            interface["peers"],
            json!([
                {
                    "public_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "name": "alice", "from_file": true, "rate_up": null, "rate_down": 7, "has_preshared_key": true,
                    "endpoint": "192.0.2.1:51820", "endpoints": [], "allowed_ips": ["10.0.0.0/24", "::/0"],
                    "latest_handshake": "1970-01-01T00:00:01Z", "rx_bytes": u64::MAX, "tx_bytes": 0,
                    "persistent_keepalive": 25
                },
                {
                    "public_key": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=", "name": null, "from_file": false, "rate_up": null, "rate_down": null, "has_preshared_key": false,
                    "endpoint": null, "endpoints": [], "allowed_ips": [], "latest_handshake": null, "rx_bytes": 0, "tx_bytes": 0,
                    "persistent_keepalive": null
                }
            ])
        );
    }

    #[test]
    fn secrets_are_in_it_only_on_request() {
        assert!(document(false)["interfaces"][0].get("private_key").is_none());
        let document = document(true);
        let interface = &document["interfaces"][0];
        assert_eq!(interface["private_key"], "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEA=");
        assert_eq!(interface["peers"][0]["preshared_key"], "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    }
}
