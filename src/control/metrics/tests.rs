//! What others rely on: the names, the two formats, and that a text in pieces is the same text.

use std::time::Duration;

use super::*;
use crate::dataplane::counters::HandshakeCounts;
use crate::dataplane::metrics::PeerMetrics;
use crate::dataplane::stats::Drop;
use crate::proto::keys::PublicKey;
use crate::proto::time::WallTime;

/// A device with a peer for each name.
pub(in crate::control) fn metrics(peers: &[&str]) -> Metrics {
    let peer = |n: usize| PeerMetrics {
        public_key: PublicKey([n as u8; 32]),
        name: (!peers[n].is_empty()).then(|| peers[n].into()),
        rx_bytes: 1 << 40,
        tx_bytes: 148,
        rx_packets: 9,
        tx_packets: 1,
        last_handshake: Some(WallTime { secs: 1_700_000_000, nanos: 500_000_000 }),
        handshakes: HandshakeCounts {
            initiations: 3,
            completed_as_initiator: 2,
            last_rtt: Some(Duration::from_micros(1500).into()),
            ..HandshakeCounts::default()
        },
        staged: 0,
        drops: vec![(Drop::SourceNotAllowed, 7)],
    };
    Metrics {
        interface: "wg0".to_owned(),
        aead: Aead::AwsLc,
        device: DeviceMetrics {
            peers: (0..peers.len()).map(peer).collect(),
            drops: vec![(Drop::NoPeer, 5)],
            ..DeviceMetrics::default()
        },
        process: Used { resident_bytes: Some(1 << 20), ..Used::default() },
        threads: vec![("packets".to_owned(), Duration::from_millis(2_500))],
    }
}

fn text(metrics: Metrics, format: Format, piece: usize) -> String {
    let mut text = Text::new(metrics, format);
    let mut whole = String::new();
    loop {
        let mut next = String::new();
        if !text.fill(&mut next, piece) {
            return whole;
        }
        whole += &next;
    }
}

#[test]
fn each_format_names_a_counter_in_its_own_way_and_a_sample_in_the_same() {
    let open = text(metrics(&["laptop"]), Format::OpenMetrics, 1 << 20);
    let older = text(metrics(&["laptop"]), Format::Prometheus, 1 << 20);
    assert!(open.contains("# TYPE rvpn_peer_receive_bytes counter\n# UNIT rvpn_peer_receive_bytes bytes\n"), "{open}");
    assert!(older.contains("# TYPE rvpn_peer_receive_bytes_total counter\n"), "{older}");
    let key = "public_key=\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    for text in [&open, &older] {
        for line in [
            &format!("rvpn_peer_receive_bytes_total{{interface=\"wg0\",{key},name=\"laptop\"}} 1099511627776\n"),
            &format!("rvpn_peer_handshakes_total{{interface=\"wg0\",{key},name=\"laptop\",role=\"initiator\"}} 2\n"),
            "rvpn_peer_last_handshake_timestamp_seconds{interface=\"wg0\",",
            " 1700000000.5\n",
            "reason=\"source_not_allowed\"} 7\n",
            "rvpn_dropped_packets_total{interface=\"wg0\",reason=\"no_peer\"} 5\n",
            "rvpn_thread_cpu_seconds_total{interface=\"wg0\",thread=\"packets\"} 2.5\n",
            "rvpn_handshake_rtt_seconds_bucket{interface=\"wg0\",le=\"+Inf\"} 0\n",
            "process_resident_memory_bytes 1048576\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
    assert!(open.ends_with("# EOF\n") && !older.contains("EOF") && !older.contains("# UNIT"));
}

#[test]
fn a_text_in_pieces_is_the_same_text_and_no_piece_is_long() {
    let whole = text(metrics(&["a", "", "c"]), Format::OpenMetrics, 1 << 20);
    assert_eq!(text(metrics(&["a", "", "c"]), Format::OpenMetrics, 1), whole);
    let mut many = Text::new(metrics(&[""; 2_000]), Format::OpenMetrics);
    let mut piece = String::new();
    while many.fill(&mut piece, 10_000) {
        assert!(piece.len() < 20_000, "{}", piece.len());
        piece.clear();
    }
}

#[test]
fn what_is_in_a_label_cannot_end_it() {
    let text = text(metrics(&["a\"b\\c\nd"]), Format::OpenMetrics, 1 << 20);
    assert!(text.contains(r#",name="a\"b\\c\nd"}"#), "{text}");
}

/// Each name stands once, and only if it can be followed by a sample: which a reader takes for granted.
#[test]
fn a_family_stands_together_under_one_name() {
    let text = text(metrics(&["a", "b"]), Format::Prometheus, 1 << 20);
    let mut seen = std::collections::HashSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name");
            assert!(seen.insert(family.to_owned()), "{family} twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} under {family}");
        }
    }
    assert_eq!(seen.len(), names().len());
}

#[test]
fn the_documentation_lists_what_there_is() {
    let document = include_str!("../../../docs/metrics.md");
    for (name, kind) in names() {
        let row = format!("| `{name}` | {} |", kind.as_str());
        assert!(document.contains(&row), "docs/metrics.md has no row that begins with {row}");
    }
    let known: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
    for name in named_in(document) {
        assert!(is_known(&name, &known), "docs/metrics.md names {name}, which there is not");
    }
}

#[test]
fn the_dashboard_asks_for_nothing_that_there_is_not() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/grafana-dashboard.json")).expect("JSON");
    let known: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() >= 10, "{} queries", queries.len());
    for query in queries {
        let names = named_in(&query);
        assert!(!names.is_empty(), "{query} asks for nothing of ours");
        for name in names {
            assert!(is_known(&name, &known), "{query} asks for {name}, which there is not");
        }
    }
}

fn collect_queries(value: &serde_json::Value, queries: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(text) if key == "expr" || (key == "query" && text.contains("rvpn_")) => {
                        queries.push(text.to_owned());
                    }
                    _ => collect_queries(value, queries),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect_queries(value, queries)),
        _ => {}
    }
}

/// Returns the words that look like our names.
fn named_in(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("rvpn_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// A histogram has series of its own.
fn is_known(name: &str, known: &[String]) -> bool {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    known.iter().any(|known| known == name || known == base)
}
