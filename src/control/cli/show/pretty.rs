//! The state of an interface for people.
//!
//! To the byte what `wg show` prints, colours included, because scripts read even this. Where the server says what `wg`
//! knows nothing of, and rvpn alone does, two lines more end the block of the interface, and a peer with a name or limits
//! has a line for each.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, Write};

use rvpn_uapi::{Aead, DeviceStatus, EndpointOrder, Offloads, PeerStatus, SecretKey};
use zeroize::Zeroizing;

use crate::control::cli::pubkey::public_key;
use crate::control::cli::terminal::Style;
use crate::control::config::value::rate_text;
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;

/// How it is shown.
pub(super) struct View {
    pub(super) style: Style,
    pub(super) shows_keys: bool,
    /// Seconds since the epoch.
    pub(super) now: u64,
}

impl View {
    /// Writes the interface, then its peers, who had a handshake last first.
    pub(super) fn write(&self, name: &str, status: &DeviceStatus, out: &mut dyn Write) -> io::Result<()> {
        let Style { reset, bold, green, .. } = self.style;
        writeln!(out, "{reset}{green}{bold}interface{reset}: {green}{name}{reset}")?;
        if let Some(key) = &status.private_key {
            self.entry("public key", &key_text::encode(&public_key(key)), out)?;
            self.entry("private key", &self.masked(key), out)?;
        }
        if status.listen_port != 0 {
            self.entry("listening port", &status.listen_port.to_string(), out)?;
        }
        if status.fwmark != 0 {
            self.entry("fwmark", &format!("{:#x}", status.fwmark), out)?;
        }
        if let Some(aead) = status.aead {
            self.entry("encryption", encryption(aead), out)?;
        }
        if let Some(offloads) = status.offloads {
            self.entry("offloads", &offloads_text(offloads), out)?;
        }
        let mut peers: Vec<_> = status.peers.iter().collect();
        peers.sort_by_key(|peer| Reverse(peer.last_handshake));
        for peer in peers {
            writeln!(out)?;
            self.peer(peer, out)?;
        }
        Ok(())
    }

    fn peer(&self, peer: &PeerStatus, out: &mut dyn Write) -> io::Result<()> {
        let Style { reset, bold, yellow, .. } = self.style;
        let key = key_text::encode(&peer.public_key.0);
        writeln!(out, "{yellow}{bold}peer{reset}: {yellow}{}{reset}", *key)?;
        if let Some(name) = &peer.name {
            self.entry("name", name.as_str(), out)?;
        }
        let rates: Vec<_> = [(peer.rate_up, "up"), (peer.rate_down, "down")]
            .into_iter()
            .filter(|&(rate, _)| rate != 0)
            .map(|(rate, way)| format!("{}bit/s {way}", rate_text(rate)))
            .collect();
        if !rates.is_empty() {
            self.entry("rate limits", &rates.join(", "), out)?;
        }
        if let Some(key) = &peer.preshared_key {
            self.entry("preshared key", &self.masked(key), out)?;
        }
        if let Some(endpoint) = peer.endpoint {
            self.entry("endpoint", &endpoint_text(endpoint), out)?;
        }
        if !peer.endpoints.is_empty() {
            let list: Vec<_> = peer.endpoints.iter().map(ToString::to_string).collect();
            let order = if peer.endpoint_order == EndpointOrder::Strict { " (in this order)" } else { "" };
            self.entry("endpoints", &format!("{}{order}", list.join(", ")), out)?;
        }
        self.entry("allowed ips", &self.allowed_ips(peer), out)?;
        let handshake = peer.last_handshake.unwrap_or_default().as_secs();
        if handshake != 0 {
            self.entry("latest handshake", &self.ago(handshake), out)?;
        }
        if peer.rx_bytes != 0 || peer.tx_bytes != 0 {
            let text = format!("{} received, {} sent", self.bytes(peer.rx_bytes), self.bytes(peer.tx_bytes));
            self.entry("transfer", &text, out)?;
        }
        if peer.persistent_keepalive != 0 {
            let text = format!("every {}", self.duration(peer.persistent_keepalive.into()));
            self.entry("persistent keepalive", &text, out)?;
        }
        Ok(())
    }

    fn entry(&self, name: &str, value: &str, out: &mut dyn Write) -> io::Result<()> {
        let Style { reset, bold, .. } = self.style;
        writeln!(out, "  {bold}{name}{reset}: {value}")
    }

    fn masked(&self, key: &SecretKey) -> Zeroizing<String> {
        if self.shows_keys {
            return key_text::encode(key.as_bytes());
        }
        Zeroizing::new("(hidden)".to_owned())
    }

    fn allowed_ips(&self, peer: &PeerStatus) -> String {
        let Style { reset, cyan, .. } = self.style;
        let mut text = String::new();
        for network in &peer.allowed_ips {
            let between = if text.is_empty() { "" } else { ", " };
            let (address, len) = (address_text(network.address()), network.prefix_len());
            let _ = write!(text, "{between}{address}{cyan}/{reset}{len}");
        }
        if text.is_empty() { "(none)".to_owned() } else { text }
    }

    fn ago(&self, time: u64) -> String {
        let Style { reset, red, .. } = self.style;
        match self.now.checked_sub(time) {
            Some(0) => "Now".to_owned(),
            Some(seconds) => format!("{} ago", self.duration(seconds)),
            None => format!("({red}System clock wound backward; connection problems may ensue.{reset})"),
        }
    }

    /// Years of 365 days, days, hours, minutes and seconds, without those of which there are none.
    fn duration(&self, seconds: u64) -> String {
        let Style { reset, cyan, .. } = self.style;
        let units = [
            ("year", seconds / YEAR),
            ("day", seconds % YEAR / DAY),
            ("hour", seconds % DAY / HOUR),
            ("minute", seconds % HOUR / MINUTE),
            ("second", seconds % MINUTE),
        ];
        let counted = units.into_iter().filter(|&(_, count)| count > 0).map(|(unit, count)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {cyan}{unit}{plural}{reset}")
        });
        counted.collect::<Vec<_>>().join(", ")
    }

    fn bytes(&self, bytes: u64) -> String {
        let Style { reset, cyan, .. } = self.style;
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|&(size, _): &(u64, _)| bytes >= size) {
            // Powers of two: the quotient has the same digits as the count.
            Some((size, unit)) => format!("{:.2} {cyan}{unit}{reset}", bytes as f64 / size as f64),
            None => format!("{bytes} {cyan}B{reset}"),
        }
    }
}

fn encryption(aead: Aead) -> &'static str {
    match aead {
        Aead::Avx512 => "ChaCha20-Poly1305, many packets at once (AVX-512)",
        Aead::AwsLc => "ChaCha20-Poly1305, packet by packet (AWS-LC)",
        Aead::PureRust => "ChaCha20-Poly1305, packet by packet (pure Rust)",
        // A word of a later release, which this one does not read.
        _ => aead.as_str(),
    }
}

/// `tun tcp4 tcp6, udp send receive`: those of one place together.
fn offloads_text(offloads: Offloads) -> String {
    let mut text = String::new();
    let mut last_place = "";
    for offload in offloads.iter() {
        let (place, kind) = offload.as_str().split_once('-').unwrap_or_default();
        let between = if text.is_empty() { "" } else { ", " };
        let _ = if place == last_place { write!(text, " {kind}") } else { write!(text, "{between}{place} {kind}") };
        last_place = place;
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rvpn_uapi::{Offload, PublicKey};

    use super::*;

    fn plain() -> View {
        let plain = Style { reset: "", bold: "", red: "", green: "", yellow: "", cyan: "" };
        View { style: plain, shows_keys: false, now: 1_000 }
    }

    #[test]
    fn durations_leave_out_what_is_zero() {
        let view = plain();
        assert_eq!(view.duration(1), "1 second");
        assert_eq!(view.duration(YEAR + 2 * DAY + HOUR + 59), "1 year, 2 days, 1 hour, 59 seconds");
        assert_eq!((view.ago(1_000), view.ago(998)), ("Now".to_owned(), "2 seconds ago".to_owned()));
        assert!(view.ago(1_001).starts_with("(System clock wound backward"));
    }

    #[test]
    fn sizes_have_two_digits_from_a_kibibyte_on() {
        let view = plain();
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1_048_575, "1024.00 KiB"),
            (1 << 30, "1.00 GiB"),
            (u64::MAX, "16777216.00 TiB"),
        ] {
            assert_eq!(view.bytes(bytes), text);
        }
    }

    #[test]
    fn the_means_end_the_block_of_the_interface_where_the_server_tells_them() {
        let text = |offloads: &[Offload]| {
            let offloads = Some(offloads.iter().copied().collect());
            let peers = vec![PeerStatus::new(PublicKey([1; 32]))];
            let status =
                DeviceStatus { fwmark: 1, aead: Some(Aead::Avx512), offloads, peers, ..DeviceStatus::default() };
            let mut out = Vec::new();
            plain().write("wg0", &status, &mut out).expect("memory");
            String::from_utf8(out).expect("UTF-8")
        };
        let encryption = "  encryption: ChaCha20-Poly1305, many packets at once (AVX-512)\n";
        let before = format!("interface: wg0\n  fwmark: 0x1\n{encryption}");
        let all = "  offloads: tun tcp4 tcp6 udp4 udp6, udp send receive\n\npeer: ";
        assert!(text(Offload::ALL).starts_with(&format!("{before}{all}")), "{}", text(Offload::ALL));
        assert!(text(&[Offload::UdpReceive]).starts_with(&format!("{before}  offloads: udp receive\n\npeer: ")));
        assert!(text(&[]).starts_with(&format!("{before}  offloads: none\n\npeer: ")));
    }

    #[test]
    fn the_latest_handshake_comes_first_and_never_last() {
        let peer = |key, handshake: Option<u64>| PeerStatus {
            last_handshake: handshake.map(Duration::from_secs),
            ..PeerStatus::new(PublicKey([key; 32]))
        };
        let peers = vec![peer(1, None), peer(2, Some(5)), peer(3, Some(9)), peer(4, None)];
        let mut out = Vec::new();
        plain().write("wg0", &DeviceStatus { peers, ..DeviceStatus::default() }, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        let order: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("peer: ")).map(|key| &key[..2]).collect();
        assert_eq!(order, ["Aw", "Ag", "AQ", "BA"]);
    }
}
