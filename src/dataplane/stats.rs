//! What was dropped and why: one counter per reason, for the whole device.
//!
//! Counters are relaxed atomics, added to once per batch; a reader sees each one right but not all at one instant.
//! Not here: bytes per peer (they belong to the peer's state, see `proto::peer`).

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! drops {
    ($($(#[$doc:meta])* $reason:ident),* $(,)?) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Drop {
            $($(#[$doc])* $reason),*
        }

        impl Drop {
            /// All reasons, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$reason),*];
        }
    };
}

drops! {
    /// From the TUN: not IPv4 or IPv6, or a header that does not fit its bytes.
    NotIp,
    /// From the TUN: no peer's allowed IPs contain the destination.
    NoPeer,
    /// From the TUN: the peer has no endpoint.
    NoEndpoint,
    /// From the TUN: a datagram of ours to the peer that would carry it.
    RoutingLoop,
    /// From the TUN: over the limit on what the peer is sent.
    OverRateDown,
    /// Staged and pushed out by newer packets, or purged.
    Staged,
    /// A queue or the buffer pool was full.
    Full,
    /// The socket refused it.
    Send,
    /// Its keypair or peer went away while it was in flight.
    Overtaken,
    /// From the network: not a message.
    NotMessage,
    /// From the network: an index nobody has.
    UnknownIndex,
    /// From the network: the tag does not verify.
    BadTag,
    /// From the network: the keypair is too old.
    Expired,
    /// From the network: a counter that was seen, or is too old.
    Replayed,
    /// From the network: authentic, but not an IP packet or longer than its bytes.
    BadInner,
    /// From the network: authentic, but the inner source is not the peer's.
    SourceNotAllowed,
    /// From the network: authentic, but over the limit on what the peer sends.
    OverRateUp,
    /// From the network: mac1 does not verify.
    BadMac,
    /// From the network: refused under load (cookie reply sent, or no token left).
    UnderLoad,
    /// From the network: a handshake message that did not verify or came too late.
    BadHandshake,
    /// The TUN refused it.
    TunWrite,
}

/// The counters of one device.
#[derive(Debug, Default)]
pub struct Stats {
    drops: [AtomicU64; Drop::ALL.len()],
    shared: AtomicU64,
}

impl Stats {
    /// Counts `packets` dropped for `reason`.
    pub(super) fn dropped(&self, reason: Drop, packets: usize) {
        if packets > 0 {
            self.drops[reason as usize].fetch_add(packets as u64, Ordering::Relaxed);
        }
    }

    /// Counts a batch that was handed to a worker.
    pub(super) fn shared(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many batches were handed to workers.
    pub fn shared_batches(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    /// Returns how many packets were dropped for `reason`.
    pub fn drops(&self, reason: Drop) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }
}
