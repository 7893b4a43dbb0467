//! Token buckets per source address, consulted under load only. SKELETON: helper fills in (protocol.md 10.2).

use std::net::IpAddr;

use super::time::Instant;

/// 20 handshakes per second and source, burst 5; at most 65,536 sources.
#[derive(Debug)]
pub struct RateLimiter {}

impl RateLimiter {
    /// Makes a limiter that has seen nobody.
    pub fn new() -> Self {
        unimplemented!()
    }

    /// Takes a token of `source`; false if it has none left, or if the table is full of others.
    /// Collects garbage itself, at most once a second.
    pub fn allow(&mut self, now: Instant, source: IpAddr) -> bool {
        let _ = (now, source);
        unimplemented!()
    }
}
