//! The in-memory twin of the operating system: interfaces, sockets, clocks and an internet that a test owns.
//!
//! It serves two kinds of test with the same parts:
//!
//! * Whole devices with their real threads. [`Platform::poller`](crate::dataplane::io::Platform) and the alarm block on
//!   condition variables; a test waits for an output on the event itself ([`FakeTun::wait_written`]), bounded by
//!   [`PATIENCE`], never by sleeping.
//! * Devices stepped by one thread in virtual time. Nothing blocks unless it is asked to, all randomness comes from
//!   seeds, and no result depends on the order of a hash table: the same seed gives the same run.
//!
//! ```text
//!  test --inject--> FakeTun ==> device ==> FakeUdp --> carrier --> Internet --> FakeUdp ==> device ==> FakeTun --> test
//!                                                       |    ^
//!                                                       v    |
//!                                                  Link, Nat, forgery
//! ```
//!
//! A [`Host`] is one computer: a TUN, addresses, sockets, an alarm. An [`Internet`] joins hosts. What a sender hands to
//! a socket is a [`Train`]; by default it arrives at once, and a carrier ([`Internet::set_carrier`]) may drop, hold,
//! change or multiply it. [`Link`] is such a bad network, without any idea of what it carries it for.
//!
//! Not here: what a device does with its packets, and any promise about speed.

mod clock;
mod host;
mod link;
mod network;
mod pcap;
mod sync;
mod tun;
mod udp;

pub use clock::{FakeAlarm, FakeClock};
pub use host::Host;
pub use link::{Conditions, Link, Nat};
pub use network::{Carrier, Internet, Train};
pub use pcap::Capture;
pub use sync::PATIENCE;
pub use tun::{FakeTun, Watcher, Written};
pub use udp::{FakeUdp, Merging};
