//! The state of interfaces as JSON: docs/json.md says what each key means and what may change.
//!
//! Private and preshared keys are in it under the same condition as in the text for people: `WG_HIDE_KEYS=never`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rvpn_uapi::{Aead, DeviceStatus, Offload, PeerStatus, SecretKey};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

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
    has_preshared_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    preshared_key: Option<Secret>,
    endpoint: Option<String>,
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
        has_preshared_key: status.preshared_key.is_some(),
        preshared_key: secret(status.preshared_key.as_ref(), shows_keys),
        endpoint: status.endpoint.map(|endpoint: SocketAddr| endpoint_text(endpoint)),
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

/// Writes a time since the epoch as RFC 3339 has it, in UTC, with its fraction of a second if it has one.
///
/// The calendar is the proleptic Gregorian one; a year over 9999, which RFC 3339 does not have, has all its digits.
fn rfc_3339(time: Duration) -> String {
    let (days, second) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    // Years that begin in March have their leap day last. Era: 400 years, 146,097 days; the first began on 0000-03-01,
    // 719,468 days before the epoch.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, twice, and then the rest: 153 days in five of them.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + next_year;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = match time.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use rvpn_uapi::{PeerName, PublicKey};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let text = |seconds, nanos| rfc_3339(Duration::new(seconds, nanos));
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(951_868_799, 7), "2000-02-29T23:59:59.000000007Z");
        assert_eq!(text(1_709_164_800, 0), "2024-02-29T00:00:00Z");
        assert_eq!(text(1_735_689_599, 0), "2024-12-31T23:59:59Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(text(253_402_300_799, 0), "9999-12-31T23:59:59Z");
        assert!(text(u64::MAX, 0).ends_with("Z"));
    }

    fn document(shows_keys: bool) -> Value {
        let peer = PeerStatus {
            name: PeerName::new("alice"),
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
                    "public_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "name": "alice", "has_preshared_key": true,
                    "endpoint": "192.0.2.1:51820", "allowed_ips": ["10.0.0.0/24", "::/0"],
                    "latest_handshake": "1970-01-01T00:00:01Z", "rx_bytes": u64::MAX, "tx_bytes": 0,
                    "persistent_keepalive": 25
                },
                {
                    "public_key": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=", "name": null, "has_preshared_key": false,
                    "endpoint": null, "allowed_ips": [], "latest_handshake": null, "rx_bytes": 0, "tx_bytes": 0,
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
