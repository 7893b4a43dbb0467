//! Peers in virtual time: one alone (`solo`), and two that talk over a wire (`pair`).
//!
//! Handshakes are computed for real. Transport packets carry index and counter only: whether they are authentic is not
//! the peer's business.

mod clock;
mod handover;
mod handshake;
mod invariants;
mod lifecycle;
mod pair;
mod presence;
mod reach;
mod rotation;
mod sending;
mod solo;
mod timelines;
mod timers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::pair::*;
use self::solo::Solo;
use super::*;
use crate::proto::endpoint::Source;
use crate::proto::handshake::Identity;
use crate::proto::keys::PrivateKey;
use crate::proto::messages::{KEEPALIVE_LEN, RESPONSE_LEN};

const MS: Duration = Duration::from_millis(1);
const DATA_LEN: u64 = 128;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The boot-time clock of every test starts here, so that "earlier" exists.
fn start() -> Instant {
    Instant::from_nanos(0).plus(secs(1_000_000))
}

fn at(after: Duration) -> Instant {
    start().plus(after)
}

fn wall_at(now: Instant) -> WallTime {
    let since = now.since(start());
    WallTime { secs: 1_700_000_000 + since.as_secs(), nanos: since.subsec_nanos() }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 51820)
}

/// The endpoint of a datagram that came from `host` to the local address 198.51.100.1.
fn learned(host: u8) -> Endpoint {
    let source = Source { address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), interface: 2 };
    Endpoint { remote: address(host), source: Some(source) }
}

fn identity(n: u8) -> Identity {
    Identity::new(PrivateKey::new([n; 32]).unwrap())
}

/// Asserts that `actual` is `from` plus 0 to 333 whole milliseconds.
fn assert_jittered(actual: Duration, from: Duration) {
    let jitter = actual.checked_sub(from).unwrap_or_else(|| panic!("{actual:?} is before {from:?}"));
    assert!(jitter <= millis(333), "{actual:?} is {jitter:?} after {from:?}");
    assert_eq!(jitter.subsec_nanos() % 1_000_000, 0, "{jitter:?} is not in whole milliseconds");
}
