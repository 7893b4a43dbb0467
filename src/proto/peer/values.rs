//! What the data plane and a peer hand each other: leave to send, what was sent, what was received, and a status.
//!
//! Not here: what is made of them (see `peer`).

use std::sync::Arc;

use super::super::candidates::Order;
use super::super::endpoint::Endpoint;
use super::super::index::Index;
use super::super::keypair::Keypair;
use super::super::keys::PresharedKey;
use super::super::time::WallTime;

/// Leave to send: consecutive counters of the current keypair.
#[derive(Debug)]
pub struct SendGrant {
    /// Seals the packets.
    pub keypair: Arc<Keypair>,
    /// Counter of the first packet; the others follow. Each is used at most once, also if sending fails.
    pub first_counter: u64,
}

/// What left the socket in one batch under one grant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// UDP payload bytes handed to the socket successfully.
    pub bytes: u64,
    /// The datagrams they are.
    pub packets: u64,
    /// At least one non-empty packet was accepted by the socket.
    pub data: bool,
}

/// What arrived, was authentic and was not a replay, in one batch of one keypair and one source.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Our index of the keypair.
    pub index: Index,
    /// Where the datagrams came from.
    pub from: Endpoint,
    /// At least one packet was not a keepalive.
    pub data: bool,
}

/// Why a transport packet was dropped in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its keypair is in no slot any more, or is too old (180 s).
    Expired,
    /// The counter was seen before, is too old, or is beyond the limit.
    Replayed,
}

/// What configuration and `show` want to know.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Where datagrams go.
    pub endpoint: Option<Endpoint>,
    /// Wall clock at the last completed handshake.
    pub last_handshake: Option<WallTime>,
    /// UDP payload bytes received: accepted handshake messages, keepalives, and data that was delivered.
    pub rx_bytes: u64,
    /// UDP payload bytes handed to the socket successfully, cookie replies excepted.
    pub tx_bytes: u64,
    /// The datagrams of `rx_bytes`.
    pub rx_packets: u64,
    /// The datagrams of `tx_bytes`.
    pub tx_packets: u64,
    /// Which candidate is preferred.
    pub order: Order,
    /// Seconds; 0 is off.
    pub persistent_keepalive: u16,
    /// The preshared key; all zero if none.
    pub preshared_key: PresharedKey,
}
