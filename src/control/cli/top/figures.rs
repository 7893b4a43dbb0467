//! What is shown, as it is asked for: of `get`, which every WireGuard answers, and of `metrics`, which ours does.
//!
//! No secret is kept: what `get` tells of keys is let go of at once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use rvpn_uapi::{Ask, DeviceStatus, PeerStatus};

use super::Seen;
use crate::control::cli::metrics;
use crate::control::client::{Client, ClientError};
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::proto::time::Instant;

/// All interfaces at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// A clock that does not jump: rates are differences.
    pub(super) at: Instant,
    /// Since the epoch: handshakes are told so.
    pub(super) wall: Duration,
    /// Why they cannot be listed, if they cannot.
    pub(super) fault: Option<String>,
    /// Their names, and what they are or why they do not tell.
    pub(super) interfaces: Vec<(String, Result<Figures, String>)>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) listen_port: u16,
    pub(super) peers: Vec<PeerFigures>,
    /// What only rvpn tells.
    pub(super) more: Option<More>,
}

/// What `get` tells of a peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PeerFigures {
    pub(super) key: [u8; 32],
    pub(super) name: Option<String>,
    pub(super) endpoint: String,
    pub(super) allowed_ips: Vec<String>,
    /// Since the epoch.
    pub(super) last_handshake: Option<Duration>,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    pub(super) keepalive: u16,
}

/// What `metrics` tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct More {
    pub(super) is_under_load: bool,
    pub(super) peers: HashMap<[u8; 32], MoreOfPeer>,
}

/// What `metrics` tells of a peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MoreOfPeer {
    pub(super) rx_packets: u64,
    pub(super) tx_packets: u64,
    pub(super) initiations: u64,
    pub(super) unanswered: u64,
    pub(super) rtt: Option<f64>,
    pub(super) least_rtt: Option<f64>,
    /// By reason.
    pub(super) drops: Vec<(String, u64)>,
}

impl MoreOfPeer {
    /// Returns the packets that were dropped, for whatever reason.
    pub(super) fn dropped(&self) -> u64 {
        self.drops.iter().map(|(_, packets)| packets).sum()
    }
}

impl Figures {
    /// Asks all interfaces; for more of those peers that are `wanted`.
    pub(super) fn take(client: &Client, wanted: &Seen) -> Sample {
        let (names, fault) = match client.interfaces() {
            Ok(mut names) => {
                names.sort();
                (names, None)
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let interfaces = names.into_iter().map(|name| {
            let keys = wanted.iter().find(|(interface, _)| *interface == name).map_or(&[][..], |(_, keys)| keys);
            let figures = Self::of(client, &name, keys).map_err(|error| error.to_string());
            (name, figures)
        });
        let interfaces = interfaces.collect();
        // Afterwards: what takes long to answer is as old as the answer.
        let wall = LinuxClock.wall();
        Sample { at: LinuxClock.now(), wall: Duration::new(wall.secs, wall.nanos), fault, interfaces }
    }

    fn of(client: &Client, name: &str, keys: &[[u8; 32]]) -> Result<Self, ClientError> {
        let interface = OsString::from(name);
        let status = client.status(&interface)?;
        // Whoever says what encrypts is rvpn. Others write into their log that they do not understand.
        if status.aead.is_none() {
            return Ok(Self::from(&status));
        }
        let list: Vec<_> = keys.iter().map(|key| key_text::encode(key).to_string()).collect();
        let mut more = More::default();
        let ask = Ask::new("metrics").with("peers", list.join(","));
        let told = metrics::read(client, &interface, &ask, |line| {
            more.line(line);
            Ok::<_, ClientError>(())
        });
        // An older one: `get` is all there is.
        Ok(Self { more: told.is_ok().then_some(more), ..Self::from(&status) })
    }
}

impl From<&DeviceStatus> for Figures {
    fn from(status: &DeviceStatus) -> Self {
        let peers = status.peers.iter().map(PeerFigures::from).collect();
        Self { listen_port: status.listen_port, peers, more: None }
    }
}

impl From<&PeerStatus> for PeerFigures {
    fn from(peer: &PeerStatus) -> Self {
        let allowed_ip =
            |network: &rvpn_uapi::AllowedIp| format!("{}/{}", address_text(network.address()), network.prefix_len());
        Self {
            key: peer.public_key.0,
            name: peer.name.as_ref().map(ToString::to_string),
            endpoint: peer.endpoint.map(endpoint_text).unwrap_or_default(),
            allowed_ips: peer.allowed_ips.iter().map(allowed_ip).collect(),
            last_handshake: peer.last_handshake.filter(|time| !time.is_zero()),
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            keepalive: peer.persistent_keepalive,
        }
    }
}

impl More {
    /// Reads a line of OpenMetrics text as our own daemon writes it: labels in one order, one space before the value.
    fn line(&mut self, line: &str) {
        let Some((series, value)) = line.rsplit_once(' ') else { return };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let number = || value.parse::<u64>().unwrap_or_default();
        if name == "rvpn_under_load" {
            self.is_under_load = value == "1";
        }
        let Some(key) = label(labels, "public_key").and_then(|key| key_text::decode(key.as_bytes())) else { return };
        let peer = self.peers.entry(*key.as_bytes()).or_default();
        match name {
            "rvpn_peer_receive_packets_total" => peer.rx_packets = number(),
            "rvpn_peer_transmit_packets_total" => peer.tx_packets = number(),
            "rvpn_peer_handshake_initiations_total" => peer.initiations = number(),
            "rvpn_peer_handshake_unanswered_total" => peer.unanswered = number(),
            "rvpn_peer_handshake_rtt_seconds" => peer.rtt = value.parse().ok(),
            "rvpn_peer_handshake_least_rtt_seconds" => peer.least_rtt = value.parse().ok(),
            "rvpn_peer_dropped_packets_total" => {
                peer.drops.extend(label(labels, "reason").map(|reason| (reason.replace('_', " "), number())));
            }
            _ => {}
        }
    }
}

/// Finds a label whose value needs no escaping. A name that a person gave may hold anything, but no unescaped quote, so
/// what looks like a label within it is preceded by a backslash or ends differently.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (label, after) = rest.split_once("=\"")?;
        let mut end = 0;
        let mut is_escaped = false;
        for (at, letter) in after.char_indices() {
            end = at;
            match letter {
                '"' if !is_escaped => break,
                _ => is_escaped = letter == '\\' && !is_escaped,
            }
        }
        if label == name {
            return Some(&after[..end]);
        }
        rest = after.get(end + 1..)?.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::metrics::{Format, Text, tests::metrics};

    #[test]
    fn what_the_daemon_writes_is_read_back() {
        let mut text = Text::new(metrics(&["a\",public_key=\"x\\", ""]), Format::OpenMetrics);
        let mut whole = String::new();
        while text.fill(&mut whole, usize::MAX) {}
        let mut more = More::default();
        whole.lines().for_each(|line| more.line(line));
        assert_eq!(more.peers.len(), 2);
        for key in [[0; 32], [1; 32]] {
            let peer = &more.peers[&key];
            assert_eq!((peer.rx_packets, peer.tx_packets, peer.initiations), (9, 1, 3));
            assert_eq!((peer.rtt, peer.drops.as_slice()), (Some(0.0015), &[("source not allowed".to_owned(), 7)][..]));
        }
        assert!(!more.is_under_load);
        more.line("rvpn_under_load{interface=\"wg0\"} 1");
        assert!(more.is_under_load);
    }
}
