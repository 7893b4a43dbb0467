//! The protocol: what WireGuard says and when, without a clock, a socket, a thread or a lock.
//!
//! Every function that depends on time takes `now`, every function that depends on chance takes `rng`. The caller
//! makes one call, then drains [`peer::Peer::poll_output`] and re-reads [`peer::Peer::poll_timeout`].
//!
//! Not here: queues, threads, sockets (see `dataplane` and `platform`).
//!
//! Sources: the WireGuard whitepaper, the Noise specification, RFC 7748, RFC 7693, RFC 8439, RFC 6479, RFC 6040.

pub mod allowedips;
pub mod candidates;
pub mod carried;
pub mod constants;
pub mod cookie;
pub mod crypto;
pub mod endpoint;
pub mod handshake;
pub mod icmp;
pub mod index;
pub mod ip;
pub mod keypair;
pub mod keys;
pub mod messages;
pub mod peer;
pub mod ratelimiter;
pub mod replay;
pub mod resolver;
pub mod time;
pub mod timers;
pub mod timestamp;
pub mod transport;
#[cfg(test)]
mod vectors;
