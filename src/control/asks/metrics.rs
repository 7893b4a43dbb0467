//! `metrics`: what the device counts, as OpenMetrics text, or with `format=prometheus` in the older format.
//!
//! ```text
//! # TYPE rvpn_peers gauge
//! rvpn_peers{interface="wg0"} 2
//! …
//! errno=0
//! ```
//! `peers=KEY,KEY` (more than once if it is long) leaves all other peers out: for views that show some of many.

use std::collections::HashSet;
use std::io;

use rvpn_uapi::{Ask, Errno};
use tokio::net::UnixStream;

use super::{Asks, refuse, reply, send};
use crate::control::key_text;
use crate::control::metrics::{Format, Metrics, Text};

pub(super) async fn answer(ask: &Ask, asks: &Asks, stream: &mut UnixStream) -> io::Result<()> {
    let format = match ask.argument("format") {
        None | Some("openmetrics") => Format::OpenMetrics,
        Some("prometheus") => Format::Prometheus,
        Some(_) => return refuse(stream, Errno::INVALID).await,
    };
    let mut metrics = asks.metrics().await?;
    if ask.argument("peers").is_some() {
        keep(&mut metrics, ask);
    }
    let mut text = Text::new(metrics, format);
    let mut piece = String::with_capacity(PIECE_LEN + PIECE_LEN / 8);
    while text.fill(&mut piece, PIECE_LEN) {
        send(stream, piece.as_bytes()).await?;
        piece.clear();
        tokio::task::yield_now().await;
    }
    reply(stream, Vec::new()).await
}

/// Leaves out the peers that are not asked for.
fn keep(metrics: &mut Metrics, ask: &Ask) {
    let lists = ask.arguments.iter().filter(|(name, _)| name == "peers");
    let keys: HashSet<_> = lists
        .flat_map(|(_, list)| list.split(','))
        .filter_map(|key| key_text::decode(key.as_bytes()))
        .map(|key| *key.as_bytes())
        .collect();
    metrics.device.peers.retain(|peer| keys.contains(&peer.public_key.0));
}

const PIECE_LEN: usize = 64 * 1024;
