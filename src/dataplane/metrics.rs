//! What a device counts, taken at one moment for who watches it.
//!
//! Taken peer by peer, each under its lock for as long as some words are copied, and with no lock of the configuration:
//! packets, handshakes and changes go on. So the numbers are of neighbouring moments.
//!
//! Not here: their names and text (see `control::metrics`), what was asked of the device (see `configure`).

use std::sync::Arc;
use std::time::Duration;

use super::counters::HandshakeCounts;
use super::device::Device;
use super::offload::OffloadsInUse;
use super::packet::MAX_BUFFERS;
use super::stats::{Count, Drop, RTT_BOUNDS};
use crate::proto::constants::MAX_QUEUED_HANDSHAKES;
use crate::proto::keys::PublicKey;
use crate::proto::peer::PeerStatus;
use crate::proto::time::WallTime;

/// The numbers of one device.
#[derive(Clone, Debug, Default)]
pub struct DeviceMetrics {
    /// Batches that wait for a worker.
    pub queued_batches: usize,
    /// Workers that wait for a batch.
    pub idle_workers: usize,
    /// Handshake messages that wait for their thread.
    pub queued_messages: usize,
    /// The most of them.
    pub max_queued_messages: usize,
    /// Peers that wait for the handshake thread to begin an initiation.
    pub queued_initiations: usize,
    /// Buffers that were made.
    pub buffers_made: usize,
    /// Buffers that are not in the pool.
    pub buffers_in_use: usize,
    /// The most buffers.
    pub max_buffers: usize,
    /// The offloads in use; `None` while the interface is down.
    pub offloads: Option<OffloadsInUse>,
    /// Handshakes are refused without a cookie.
    pub is_under_load: bool,
    /// Batches that were handed to workers.
    pub shared_batches: u64,
    /// Packets dropped, by reason; all reasons there are.
    pub drops: Vec<(Drop, u64)>,
    /// Messages by kind; all kinds there are.
    pub messages: Vec<(Count, u64)>,
    /// Handshakes by how long they took, as [`super::stats::Stats::handshake_rtts`] gives them.
    pub handshake_rtts: ([u64; RTT_BOUNDS.len() + 1], Duration),
    /// In the order in which they were added.
    pub peers: Vec<PeerMetrics>,
}

/// The numbers of one peer.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// Its static public key.
    pub public_key: PublicKey,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// UDP payload bytes received: see [`crate::proto::peer::PeerStatus`].
    pub rx_bytes: u64,
    /// UDP payload bytes sent.
    pub tx_bytes: u64,
    /// Datagrams received.
    pub rx_packets: u64,
    /// Datagrams sent.
    pub tx_packets: u64,
    /// Wall clock at the last completed handshake.
    pub last_handshake: Option<WallTime>,
    /// How its handshakes went.
    pub handshakes: HandshakeCounts,
    /// Packets that wait for a key.
    pub staged: usize,
    /// Packets dropped, by reason, where there were any.
    pub drops: Vec<(Drop, u64)>,
}

impl Device {
    /// Takes the numbers of the device and its peers.
    pub fn metrics(&self) -> DeviceMetrics {
        let (queued_batches, idle_workers) = self.work.waiting();
        let (queued_messages, queued_initiations) = self.handshakes.waiting();
        let (buffers_made, buffers_idle) = self.pool.count();
        let peers = self.peers.all();
        let peers = peers.iter().map(|peer| {
            let name = peer.name();
            let state = peer.state();
            let PeerStatus { rx_bytes, tx_bytes, rx_packets, tx_packets, last_handshake, .. } = state.core.status();
            PeerMetrics {
                public_key: peer.public_key,
                name,
                rx_bytes,
                tx_bytes,
                rx_packets,
                tx_packets,
                last_handshake,
                handshakes: state.handshakes.counts(),
                staged: state.staged.len(),
                drops: peer.drops.counts(),
            }
        });
        DeviceMetrics {
            queued_batches,
            idle_workers,
            queued_messages,
            max_queued_messages: MAX_QUEUED_HANDSHAKES,
            queued_initiations,
            buffers_made,
            buffers_in_use: buffers_made.saturating_sub(buffers_idle),
            max_buffers: MAX_BUFFERS,
            offloads: self.udp().map(|udp| self.offloads.in_use(&*udp)),
            shared_batches: self.stats.shared_batches(),
            drops: Drop::ALL.iter().map(|&reason| (reason, self.stats.drops(reason))).collect(),
            messages: Count::ALL.iter().map(|&message| (message, self.stats.messages(message))).collect(),
            handshake_rtts: self.stats.handshake_rtts(),
            is_under_load: self.stats.is_under_load(self.platform.clock.now()),
            peers: peers.collect(),
        }
    }
}
