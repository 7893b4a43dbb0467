//! Devices in virtual time over a bad network with a seed: pairs, and stars of 50 around a hub.
//!
//! `make sim` plays 10,000 virtual hours, `make test` some. A failing seed is printed; `RVPN_SEED=n cargo test --test
//! simulation seeds` plays that one alone (`n..m`: all of these). Then `RVPN_PCAP=file` writes what was on the wire,
//! `RVPN_LOG=1` the devices' logs, and `RVPN_TRACE=1` says what is sent after the network has healed.

#[path = "simulation/attacker.rs"]
mod attacker;
#[path = "simulation/clocks.rs"]
mod clocks;
#[path = "device/config.rs"]
#[expect(dead_code, reason = "shared with the device tests, which use all of it")]
mod config;
#[path = "simulation/node.rs"]
mod node;
#[path = "device/packets.rs"]
#[expect(dead_code, reason = "shared with the device tests, which use all of it")]
mod packets;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/timelines.rs"]
mod timelines;
#[path = "simulation/traffic.rs"]
mod traffic;
#[path = "simulation/watch.rs"]
mod watch;
#[path = "simulation/world.rs"]
mod world;
