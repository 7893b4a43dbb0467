//! What was dropped and why, and how handshakes go: counters for the whole device.
//!
//! Counters are relaxed atomics, added to once per batch; a reader sees each one right but not all at one instant.
//! Not here: bytes per peer (they belong to the peer's state, see `proto::peer`), other counts of a peer (see `counters`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::proto::constants::REKEY_TIMEOUT;
use crate::proto::time::Instant;

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

            /// Returns its name as it is written here.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason)),*
                }
            }
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

/// Messages that are counted apart from packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Initiations that came, whatever became of them.
    InitiationsReceived,
    /// Initiations of ours.
    InitiationsSent,
    /// Responses that came, whatever became of them.
    ResponsesReceived,
    /// Responses of ours.
    ResponsesSent,
    /// Cookie replies that came, whatever became of them.
    CookieRepliesReceived,
    /// Cookie replies of ours: each is an initiation or response refused under load.
    CookieRepliesSent,
}

impl Count {
    /// All kinds, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::InitiationsReceived,
        Self::InitiationsSent,
        Self::ResponsesReceived,
        Self::ResponsesSent,
        Self::CookieRepliesReceived,
        Self::CookieRepliesSent,
    ];
}

/// The counters of one device.
#[derive(Debug, Default)]
pub struct Stats {
    drops: [AtomicU64; Drop::ALL.len()],
    shared: AtomicU64,
    messages: [AtomicU64; Count::ALL.len()],
    /// Nanoseconds of [`Instant`]; 0 is never.
    under_load_until: AtomicU64,
    handshake_rtts: RttHistogram,
}

/// How long the responses to our initiations took, of all peers.
#[derive(Debug, Default)]
struct RttHistogram {
    /// The last is for what takes longer than all bounds.
    buckets: [AtomicU64; RTT_BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// Upper bounds of the buckets: from a cable to the time after which an initiation is repeated.
pub const RTT_BOUNDS: [Duration; 12] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    REKEY_TIMEOUT,
];

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

    /// Counts a message.
    pub(super) fn counted(&self, message: Count) {
        self.messages[message as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of until when the handshake thread is under load.
    pub(super) fn set_under_load(&self, until: Option<Instant>) {
        self.under_load_until.store(until.map_or(0, Instant::as_nanos), Ordering::Relaxed);
    }

    /// Counts a handshake that we began and that took `rtt`.
    pub(super) fn add_handshake_rtt(&self, rtt: Duration) {
        let bucket = RTT_BOUNDS.partition_point(|&bound| bound < rtt);
        self.handshake_rtts.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.handshake_rtts.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns how many messages of a kind there were.
    pub fn messages(&self, message: Count) -> u64 {
        self.messages[message as usize].load(Ordering::Relaxed)
    }

    /// Tells whether handshakes are refused without a cookie at `now`.
    pub fn is_under_load(&self, now: Instant) -> bool {
        now < Instant::from_nanos(self.under_load_until.load(Ordering::Relaxed))
    }

    /// Returns how many handshakes took at most each of [`RTT_BOUNDS`] and more than the one before, last those that
    /// took longer; and the sum of their times.
    pub fn handshake_rtts(&self) -> ([u64; RTT_BOUNDS.len() + 1], Duration) {
        let RttHistogram { buckets, sum_nanos } = &self.handshake_rtts;
        let counts = std::array::from_fn(|n| buckets[n].load(Ordering::Relaxed));
        (counts, Duration::from_nanos(sum_nanos.load(Ordering::Relaxed)))
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
