//! The numbers of the protocol, under the whitepaper's names.
//!
//! Source: whitepaper section 6.1 and the kernel driver's `messages.h`; where they differ the choice is noted.
//!
//! The soak test compiles with `--cfg fast_timers`: keys then live a twentieth of their time, so that an hour sees as
//! many as a night and a day. It is no cargo feature, because features add up and nobody must get this one unasked.

use std::time::Duration;

/// Spacing of handshake attempts, and the least time between two initiations to one peer.
pub const REKEY_TIMEOUT: Duration = millis(5_000);
/// How much longer one of two ends waits whose initiations crossed, so that the next one is the other's alone. Not of the
/// paper, where two peers that cross may cross again and again.
pub const HELD_BACK: Duration = millis(1_000);
/// Upper bound of the jitter added to the retransmit and new-handshake timers, drawn in whole milliseconds.
pub const MAX_JITTER: Duration = millis(333);
/// Age at which the initiator of a session starts the next handshake.
pub const REKEY_AFTER_TIME: Duration = millis(120_000);
/// Age at which a session is dead for sending and receiving.
pub const REJECT_AFTER_TIME: Duration = millis(180_000);
/// Retries after the first before a handshake is given up: 90 s / 5 s.
pub const MAX_TIMER_HANDSHAKES: u32 = 18;
/// Silence after received data that is answered with a keepalive.
pub const KEEPALIVE_TIMEOUT: Duration = millis(10_000);
/// How long a peer that used to answer may be silent while data is sent to it, twice over, before a handshake asks whether
/// it still knows us. Not of the paper, whose 15 s are for a peer that need not answer at all.
pub const SILENCE: Duration = millis(500);
/// Age of a session after which all key material of its peer is erased.
pub const ZERO_KEYS_AFTER: Duration = millis(540_000);
/// Counter beyond which the next handshake is started (trigger: strictly greater).
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Counters from here on are neither sent nor accepted (whitepaper and wireguard-go; the kernel's is 63 higher).
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Life of a cookie secret.
pub const COOKIE_SECRET_MAX_AGE: Duration = Duration::from_secs(120);
/// Age below which a received cookie is used: 5 s less than its life, for the way (as the kernel).
pub const COOKIE_USABLE_FOR: Duration = Duration::from_secs(115);
/// Least time between two valid initiations of one peer.
pub const INITIATION_SPACING: Duration = Duration::from_millis(20);
/// Queue length of handshake messages from which the device is under load.
pub const UNDER_LOAD_QUEUE: usize = 512;
/// Bound of the queue of incoming handshake messages.
pub const MAX_QUEUED_HANDSHAKES: usize = 4096;
/// Time the device stays under load after the last moment the queue was long.
pub const UNDER_LOAD_MEMORY: Duration = Duration::from_secs(1);
/// Staged packets per peer; the oldest is dropped for the newest.
pub const MAX_STAGED_PACKETS: usize = 128;
/// Staged bytes per peer.
pub const MAX_STAGED_BYTES: usize = 256 * 1024;
/// Peers per device.
pub const MAX_PEERS: usize = 1 << 20;
/// Plaintext is padded to a multiple of this, within the MTU.
pub const PADDING_MULTIPLE: usize = 16;

/// The protocol's milliseconds on the clock of this build.
const fn millis(millis: u64) -> Duration {
    Duration::from_millis(if cfg!(fast_timers) { millis / 20 } else { millis })
}
