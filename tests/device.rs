//! Whole devices with their real threads over the in-memory platform: a property per test.
//!
//! Time stands still unless a test moves it, and nothing sleeps: every wait is for the event itself. The network is
//! perfect unless a test's carrier meddles.

#[path = "device/config.rs"]
mod config;
#[path = "device/packets.rs"]
mod packets;
#[path = "device/world.rs"]
mod world;

#[path = "device/changes.rs"]
mod changes;
#[path = "device/events.rs"]
mod events;
#[path = "device/evidence.rs"]
mod evidence;
#[path = "device/faults.rs"]
mod faults;
#[path = "device/handover.rs"]
mod handover;
#[path = "device/hostile.rs"]
mod hostile;
#[path = "device/traffic.rs"]
mod traffic;
