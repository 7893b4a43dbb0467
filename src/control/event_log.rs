//! Events in the log: in words, and with fields for programs.
//!
//! The log is a subscriber as any other: in a storm of events it misses some and says so, and no thread that carries
//! packets writes a line for one.
//!
//! Not here: the form of lines (see `log`).

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::Notify;

use super::event_record::Record;
use crate::dataplane::events::{Event, EventKind, Events};

/// Logs what happens from now on, if anybody reads it.
pub fn follow(events: &Arc<Events>) -> impl Future<Output = Infallible> + use<> {
    let news = Arc::new(Notify::new());
    let wake = Arc::clone(&news);
    let is_read = tracing::enabled!(tracing::Level::WARN);
    let subscription = is_read.then(|| events.subscribe(move || wake.notify_one()));
    async move {
        loop {
            let taken = subscription.as_ref().map(|subscription| subscription.take()).unwrap_or_default();
            if taken.missed > 0 {
                tracing::error!("{} events came too fast to be logged", taken.missed);
            }
            taken.events.iter().for_each(|event| log(event));
            news.notified().await;
        }
    }
}

fn log(event: &Event) {
    let record = Record::of(event);
    let text = text(event);
    let (peer, peer_name) = (record.public_key.as_deref(), record.name.as_deref());
    let (name, endpoint) = (record.event.as_str(), record.endpoint.as_deref());
    match event.kind {
        EventKind::AllowedIpStolen { .. } | EventKind::PrivateKeyRemoved | EventKind::ListenPortChanged { .. } => {
            tracing::warn!(event = name, peer, peer_name, endpoint, "{text}")
        }
        _ => tracing::debug!(event = name, peer, peer_name, endpoint, "{text}"),
    }
}

fn text(event: &Event) -> String {
    let peer = event.peer.as_ref().map(ToString::to_string).unwrap_or_default();
    match &event.kind {
        EventKind::Connected { endpoint } => format!("Peer {peer} is connected ({endpoint})"),
        EventKind::Silent { .. } => format!("Peer {peer} is silent: nothing came from it for 180 s"),
        EventKind::Roamed { from, to } => format!("Peer {peer} roamed from {from} to {to}"),
        EventKind::EndpointChanged { to, .. } => format!("Endpoint of peer {peer} changed to {to}"),
        EventKind::HandshakeGaveUp { .. } => {
            format!("Handshake for peer {peer} did not complete after 20 attempts, giving up until there is new data")
        }
        EventKind::PeerAdded => format!("Peer {peer} added"),
        EventKind::PeerRemoved => format!("Peer {peer} removed"),
        EventKind::AllowedIpStolen { prefix, by } => format!("Allowed IP {prefix} moves from peer {peer} to peer {by}"),
        EventKind::PrivateKeyRemoved => "The private key was removed: no handshake is possible".to_owned(),
        EventKind::ListenPortChanged { from, to } => format!("The listen port moves from {from} to {to}"),
    }
}
