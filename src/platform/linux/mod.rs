//! Linux: TUN, UDP sockets, epoll, netlink and the clocks behind the data plane's traits.
//!
//! ```text
//!  tun ── vnet_header          udp ── placement, udp_offload, cmsg, socket_name          clock
//!    \______________________ poller ___/                     alarm
//!  link_monitor, route_monitor ── netlink, stop            process            resolver            hardening
//!  network ─────────────────────────/       nftables       wireguard_driver ── netlink_socket
//!  packet_tap              tap       echo
//!                       all: sys (the only unsafe code)
//! ```
//!
//! Everything opened here is close-on-exec.
//!
//! Not here: which interface to open, threads for the monitors, reactions to their events (see `control`).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rand_core::UnwrapErr;
use rand::rngs::{StdRng, SysRng};

use crate::dataplane::io::Platform;

mod alarm;
mod alone;
mod clock;
mod cmsg;
pub mod echo;
pub mod hardening;
pub mod link_monitor;
mod netlink;
mod netlink_socket;
pub mod network;
pub mod nftables;
pub mod packet_tap;
#[doc(hidden)]
pub mod parsing;
pub mod placement;
pub mod poller;
pub mod process;
pub mod resolver;
pub mod route_monitor;
mod sleep_watch;
mod socket_name;
pub mod stop;
mod sys;
pub mod tap;
pub mod tun;
pub mod udp;
pub mod udp_offload;
pub mod usage;
mod vnet_header;
pub mod wireguard_driver;

pub use alarm::LinuxAlarm;
pub use clock::LinuxClock;

/// Puts the world of one device together: `tun`, and sockets that send `trains`, at `placement` in the network namespace of
/// the calling thread. Returns the sockets' maker also by itself, for what only this platform has: sockets of other
/// processes.
///
/// # Errors
/// The OS's, if there are too many open files, there is no netlink, or there can be no socket at `placement`.
pub fn platform(
    tun: Arc<tun::LinuxTun>,
    trains: udp_offload::Trains,
    placement: placement::Placement,
) -> io::Result<(Platform, Arc<udp::LinuxNetwork>)> {
    let poller = Arc::new(poller::LinuxPoller::new(tun.as_fd())?);
    let network = Arc::new(udp::LinuxNetwork::new(Arc::clone(&poller), trains, placement)?);
    network.try_placement()?;
    let platform = Platform {
        tun,
        network: network.clone(),
        poller,
        alarm: Arc::new(LinuxAlarm::new()?),
        clock: Arc::new(LinuxClock),
        // getrandom(2) blocks until the kernel is seeded and then never fails; without random bytes there is no tunnel.
        rng: Arc::new(|| StdRng::from_rng(&mut UnwrapErr(SysRng))),
    };
    Ok((platform, network))
}
