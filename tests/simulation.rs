//! Two devices in virtual time over a bad network with a seed, in one thread.
//!
//! A failing seed is printed; `RVPN_SEED=n cargo test --test simulation` runs that one alone (`n..m`: all
//! of these). Then `RVPN_PCAP=file` writes what was on the wire, and `RVPN_TRACE=1` says what is sent after the network
//! has healed.

#[path = "device/config.rs"]
#[expect(dead_code, reason = "shared with the device tests, which use all of it")]
mod config;
#[path = "device/packets.rs"]
#[expect(dead_code, reason = "shared with the device tests, which use all of it")]
mod packets;
#[path = "simulation/pair.rs"]
mod pair;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/timelines.rs"]
mod timelines;
#[path = "simulation/watch.rs"]
mod watch;
