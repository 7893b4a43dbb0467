//! The metrics there are: name, kind, unit, meaning, and where the value comes from.
//!
//! `docs/metrics.md` lists them, and a test holds that it lists these. Names and labels are a promise: others keep
//! graphs and alarms by them.
//!
//! Source: <https://prometheus.io/docs/practices/naming/>; for `process_…`,
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::time::Duration;

use rvpn_uapi::Offload;

use super::Metrics;
use super::text::Samples;
use crate::control::apply;
use crate::dataplane::metrics::PeerMetrics;
use crate::dataplane::stats::{Count, Drop, RTT_BOUNDS};

/// One metric, with all its labels.
#[derive(Debug)]
pub(super) struct Family {
    /// Without `_total`, which each counter ends with.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What the name ends with, if it is in units.
    pub(super) unit: Option<&'static str>,
    pub(super) help: &'static str,
}

/// What its numbers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, until the process ends.
    Counter,
    /// They go up and down.
    Gauge,
    /// How many there were up to some bounds.
    Histogram,
}

impl Kind {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Returns the names of all series with their kinds: what queries may name.
pub fn names() -> Vec<(String, Kind)> {
    let families = OF_DEVICE.iter().map(|(family, _)| family).chain(OF_PEERS.iter().map(|(family, _)| family));
    let suffix = |kind| if kind == Kind::Counter { "_total" } else { "" };
    families.map(|family| (format!("{}{}", family.name, suffix(family.kind)), family.kind)).collect()
}

const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, unit, help }
}

const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, unit, help }
}

type OfDevice = (Family, fn(&Metrics, &mut Samples<'_>));
type OfPeers = (Family, fn(&PeerMetrics, &mut Samples<'_>));

const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");

/// Those with one value, or a few, for the device or its process.
pub(super) const OF_DEVICE: &[OfDevice] = &[
    (gauge("rvpn_build_info", None, "1, with the version and what encrypts the packets as labels."), |m, out| {
        out.with_two(("version", env!("CARGO_PKG_VERSION")), ("aead", m.aead.as_str()), true);
    }),
    (gauge("rvpn_peers", None, "Peers that are configured."), |m, out| out.value(m.device.peers.len())),
    (counter("rvpn_dropped_packets", None, "Packets dropped, by reason."), |m, out| {
        m.device.drops.iter().for_each(|&(drop, packets)| out.with("reason", &reason(drop), packets));
    }),
    (
        counter("rvpn_handshake_messages_received", None, "Handshake messages that came, whatever became of them."),
        |m, out| {
            for &(message, count) in &m.device.messages {
                if let (Way::In, kind) = message_kind(message) {
                    out.with("type", kind, count);
                }
            }
        },
    ),
    (counter("rvpn_handshake_messages_sent", None, "Handshake messages sent."), |m, out| {
        for &(message, count) in &m.device.messages {
            if let (Way::Out, kind) = message_kind(message) {
                out.with("type", kind, count);
            }
        }
    }),
    (
        Family {
            name: "rvpn_handshake_rtt_seconds",
            kind: Kind::Histogram,
            unit: SECONDS,
            help: "Time from our initiations to the responses, of all peers.",
        },
        |m, out| {
            let (counts, sum) = &m.device.handshake_rtts;
            out.histogram(&RTT_BOUNDS, counts, *sum);
        },
    ),
    (gauge("rvpn_under_load", None, "1 while handshakes without a cookie are refused."), |m, out| {
        out.value(m.device.is_under_load);
    }),
    (gauge("rvpn_handshake_queue_messages", None, "Handshake messages that wait for their thread."), |m, out| {
        out.value(m.device.queued_messages);
    }),
    (gauge("rvpn_handshake_queue_limit", None, "How many can wait before they are dropped."), |m, out| {
        out.value(m.device.max_queued_messages);
    }),
    (gauge("rvpn_initiation_queue_peers", None, "Peers whose initiation waits to be computed."), |m, out| {
        out.value(m.device.queued_initiations);
    }),
    (gauge("rvpn_work_queue_batches", None, "Batches of packets that wait for a worker."), |m, out| {
        out.value(m.device.queued_batches);
    }),
    (gauge("rvpn_idle_workers", None, "Workers that wait for a batch."), |m, out| out.value(m.device.idle_workers)),
    (counter("rvpn_shared_batches", None, "Batches that were handed to a worker."), |m, out| {
        out.value(m.device.shared_batches);
    }),
    (gauge("rvpn_staged_packets", None, "Packets that wait for a key, of all peers."), |m, out| {
        out.value(m.device.peers.iter().map(|peer| peer.staged).sum::<usize>());
    }),
    (gauge("rvpn_buffers", None, "Packet buffers that were made."), |m, out| out.value(m.device.buffers_made)),
    (gauge("rvpn_buffers_in_use", None, "Packet buffers that are not in the pool."), |m, out| {
        out.value(m.device.buffers_in_use);
    }),
    (gauge("rvpn_buffers_limit", None, "How many packet buffers there can be."), |m, out| {
        out.value(m.device.max_buffers);
    }),
    (gauge("rvpn_offload_active", None, "1 for each offload that is in use, 0 for the others."), |m, out| {
        let in_use = m.device.offloads.map(apply::offloads).unwrap_or_default();
        for offload in Offload::ALL {
            out.with("offload", offload.as_str(), in_use.iter().any(|used| used == *offload));
        }
    }),
    (counter("rvpn_thread_cpu_seconds", SECONDS, "CPU time of each thread."), |m, out| {
        m.threads.iter().for_each(|(name, time)| out.with("thread", name, *time));
    }),
    (counter("process_cpu_seconds", SECONDS, "CPU time of the process, in user space and in the kernel."), |m, out| {
        out.value(m.process.cpu_time);
    }),
    (gauge("process_resident_memory_bytes", BYTES, "Memory of the process that is not swapped out."), |m, out| {
        m.process.resident_bytes.into_iter().for_each(|bytes| out.value(bytes));
    }),
    (gauge("process_open_fds", None, "Open files of the process."), |m, out| out.value(m.process.open_files)),
    (gauge("process_max_fds", None, "How many files it may open."), |m, out| out.value(m.process.max_files)),
    (gauge("process_start_time_seconds", SECONDS, "When the process began to run, since the epoch."), |m, out| {
        out.value(m.process.started);
    }),
];

/// Those with values for each peer.
pub(super) const OF_PEERS: &[OfPeers] = &[
    (counter("rvpn_peer_receive_bytes", BYTES, "UDP payload received from the peer."), |p, out| out.value(p.rx_bytes)),
    (counter("rvpn_peer_transmit_bytes", BYTES, "UDP payload sent to the peer."), |p, out| out.value(p.tx_bytes)),
    (counter("rvpn_peer_receive_packets", None, "Datagrams received from the peer."), |p, out| out.value(p.rx_packets)),
    (counter("rvpn_peer_transmit_packets", None, "Datagrams sent to the peer."), |p, out| out.value(p.tx_packets)),
    (
        gauge(
            "rvpn_peer_last_handshake_timestamp_seconds",
            SECONDS,
            "Time of the last handshake, 0 if there was none.",
        ),
        |p, out| {
            let time = p.last_handshake.map(|time| Duration::new(time.secs, time.nanos));
            out.value(time.unwrap_or_default());
        },
    ),
    (counter("rvpn_peer_handshakes", None, "Handshakes completed, by our role."), |p, out| {
        out.with("role", "initiator", p.handshakes.completed_as_initiator);
        out.with("role", "responder", p.handshakes.completed_as_responder);
    }),
    (counter("rvpn_peer_handshake_initiations", None, "Initiations sent, repetitions too."), |p, out| {
        out.value(p.handshakes.initiations);
    }),
    (
        counter("rvpn_peer_handshake_unanswered", None, "Initiations sent that no response came to in time."),
        |p, out| {
            out.value(p.handshakes.unanswered);
        },
    ),
    (counter("rvpn_peer_handshakes_given_up", None, "Handshakes given up after 20 initiations."), |p, out| {
        out.value(p.handshakes.given_up);
    }),
    (
        gauge("rvpn_peer_handshake_rtt_seconds", SECONDS, "Time from our last answered initiation to its response."),
        |p, out| p.handshakes.last_rtt.into_iter().for_each(|rtt| out.value(Duration::from(rtt))),
    ),
    (gauge("rvpn_peer_handshake_least_rtt_seconds", SECONDS, "The least of these times."), |p, out| {
        p.handshakes.least_rtt.into_iter().for_each(|rtt| out.value(Duration::from(rtt)));
    }),
    (gauge("rvpn_peer_staged_packets", None, "Packets that wait for a key."), |p, out| out.value(p.staged)),
    (
        counter("rvpn_peer_dropped_packets", None, "Packets of the peer dropped, by reason, once there was one."),
        |p, out| {
            p.drops.iter().for_each(|&(drop, packets)| out.with("reason", &reason(drop), packets));
        },
    ),
];

/// `SourceNotAllowed` as `source_not_allowed`.
fn reason(drop: Drop) -> String {
    let mut text = String::new();
    for letter in drop.name().chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

fn message_kind(message: Count) -> (Way, &'static str) {
    match message {
        Count::InitiationsReceived => (Way::In, "initiation"),
        Count::InitiationsSent => (Way::Out, "initiation"),
        Count::ResponsesReceived => (Way::In, "response"),
        Count::ResponsesSent => (Way::Out, "response"),
        Count::CookieRepliesReceived => (Way::In, "cookie_reply"),
        Count::CookieRepliesSent => (Way::Out, "cookie_reply"),
    }
}
