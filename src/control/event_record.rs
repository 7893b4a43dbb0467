//! An event as one line of JSON: what `rvpn monitor --json` prints and what a hook finds in its environment.
//!
//! docs/json.md says what each key means and what may change. Keys that have no meaning for an event are left out.
//!
//! Not here: when something is an event (see `dataplane::events`), lines for people (see `cli::monitor`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::rfc_3339;
use super::endpoint::{address_text, endpoint_text};
use super::key_text;
use crate::dataplane::events::{Event, EventKind, PeerLabel};
use crate::proto::time::WallTime;

/// One event. Texts only: whoever reads it passes them on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When: RFC 3339.
    pub time: String,
    /// The interface, as the one who reads the events knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What: [`EventKind::name`], or [`MISSED`].
    pub event: String,
    /// The peer's public key, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The peer's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the peer is from here on, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Where it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_endpoint: Option<String>,
    /// A prefix that the peer has lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ip: Option<String>,
    /// The public key of the peer that has the prefix, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_public_key: Option<String>,
    /// The name of that peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_name: Option<String>,
    /// The UDP port from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// The UDP port before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_listen_port: Option<u16>,
    /// How many events are not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// In place of the events that were lost because their reader did not keep up.
pub const MISSED: &str = "missed";

impl Record {
    /// Translates an event.
    pub fn of(event: &Event) -> Self {
        let (public_key, name) = texts(event.peer.as_ref());
        let at =
            Self { time: time(event.at), event: event.kind.name().to_owned(), public_key, name, ..Self::default() };
        match &event.kind {
            EventKind::Connected { endpoint } => Self { endpoint: Some(endpoint_text(*endpoint)), ..at },
            EventKind::Silent { endpoint } | EventKind::HandshakeGaveUp { endpoint } => {
                Self { endpoint: endpoint.map(endpoint_text), ..at }
            }
            EventKind::Roamed { from, to } => {
                Self { endpoint: Some(endpoint_text(*to)), previous_endpoint: Some(endpoint_text(*from)), ..at }
            }
            EventKind::EndpointChanged { from, to } => {
                Self { endpoint: Some(endpoint_text(*to)), previous_endpoint: from.map(endpoint_text), ..at }
            }
            EventKind::AllowedIpStolen { prefix, by } => {
                let (other_public_key, other_name) = texts(Some(by));
                let allowed_ip = Some(format!("{}/{}", address_text(prefix.address()), prefix.len()));
                Self { allowed_ip, other_public_key, other_name, ..at }
            }
            EventKind::ListenPortChanged { from, to } => {
                Self { listen_port: Some(*to), previous_listen_port: Some(*from), ..at }
            }
            EventKind::PeerAdded | EventKind::PeerRemoved | EventKind::PrivateKeyRemoved => at,
        }
    }

    /// Makes the one that stands for `count` events before the one of the moment `before`.
    pub fn missed(count: u64, before: WallTime) -> Self {
        Self { time: time(before), event: MISSED.to_owned(), count: Some(count), ..Self::default() }
    }

    /// Appends the line, with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("texts and numbers, into memory");
        out.push(b'\n');
    }

    /// Reads a line; `None` if it is no record. Texts are bounded and can be printed: the other side may be in the wrong
    /// hands.
    pub fn read(line: &str) -> Option<Self> {
        let record: Self = serde_json::from_str(line).ok()?;
        let is_printable = |text: &str| text.len() <= MAX_TEXT_LEN && !text.contains(char::is_control);
        let is_sound = is_printable(&record.time)
            && is_printable(&record.event)
            && !record.event.is_empty()
            && record.texts().into_iter().flatten().all(|text| is_printable(text));
        is_sound.then_some(record)
    }

    fn texts(&self) -> [Option<&String>; 8] {
        [
            &self.interface,
            &self.public_key,
            &self.name,
            &self.endpoint,
            &self.previous_endpoint,
            &self.allowed_ip,
            &self.other_public_key,
            &self.other_name,
        ]
        .map(Option::as_ref)
    }
}

fn texts(peer: Option<&PeerLabel>) -> (Option<String>, Option<String>) {
    let key = peer.map(|peer| key_text::encode(peer.public_key.as_bytes()).to_string());
    (key, peer.and_then(|peer| peer.name.as_deref()).map(str::to_owned))
}

fn time(at: WallTime) -> String {
    rfc_3339(Duration::new(at.secs, at.nanos))
}

/// More than any of them has.
const MAX_TEXT_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::allowedips::Prefix;
    use crate::proto::keys::PublicKey;

    fn peer(n: u8, name: Option<&str>) -> PeerLabel {
        PeerLabel { public_key: PublicKey([n; 32]), name: name.map(Into::into) }
    }

    fn line(peer: Option<PeerLabel>, kind: EventKind) -> Value {
        let record = Record::of(&Event { at: WallTime { secs: 1, nanos: 0 }, peer, kind });
        let mut line = Vec::new();
        record.write(&mut line);
        let text = str::from_utf8(&line).expect("UTF-8");
        assert_eq!(Record::read(text.strip_suffix('\n').expect("a line")), Some(record));
        serde_json::from_str(text).expect("JSON")
    }

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TIME: &str = "1970-01-01T00:00:01Z";

    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let endpoint = "[2001:db8::1]:51820".parse().expect("an address");
        let connected = line(Some(peer(1, Some("alice"))), EventKind::Connected { endpoint });
        let expected = json!({"time": TIME, "event": "connected", "public_key": KEY, "name": "alice",
                              "endpoint": "[2001:db8::1]:51820"});
        assert_eq!(connected, expected);

        let prefix = Prefix::new("10.0.0.0".parse().expect("an address"), 24).expect("a length");
        let stolen = line(Some(peer(1, None)), EventKind::AllowedIpStolen { prefix, by: peer(2, Some("bob")) });
        let expected = json!({"time": TIME, "event": "allowed-ip-stolen", "public_key": KEY, "allowed_ip": "10.0.0.0/24",
                              "other_public_key": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
                              "other_name": "bob"});
        assert_eq!(stolen, expected);

        let port = line(None, EventKind::ListenPortChanged { from: 1, to: 2 });
        let expected =
            json!({"time": TIME, "event": "listen-port-changed", "listen_port": 2, "previous_listen_port": 1});
        assert_eq!(port, expected);
    }

    #[test]
    fn what_cannot_be_printed_is_no_record() {
        let record = |name: &str| json!({"time": TIME, "event": "added", "name": name}).to_string();
        assert!(Record::read(&record("alice")).is_some());
        for name in ["a\nb", "\u{1b}[31m", &"a".repeat(257)] {
            assert_eq!(Record::read(&record(name)), None, "{name:?}");
        }
        for line in ["", "{}", "[]", r#"{"event":1}"#] {
            assert_eq!(Record::read(line), None, "{line}");
        }
    }
}
