//! Tells that the ways to peers may have changed: routes, addresses, links or rules of the sockets' namespace; and that
//! the machine was asleep, so that what lies on these ways may have forgotten it.
//!
//! It does not tell what changed: whoever cached a source address asks for the way anew (see
//! [`Network::source_towards`](crate::dataplane::io::Network::source_towards)). Links are watched too, because IPv4
//! routes that vanish with their link are not announced.
//!
//! Source: rtnetlink(7).

use std::io;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::netlink::Netlink;
use super::sleep_watch::SleepWatch;
use super::stop::Stop;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteEvent {
    /// Something about routes: ways may have changed, and most have not.
    Changed,
    /// The machine woke up.
    Resumed,
}

/// Watches one namespace.
pub struct RouteMonitor {
    notifications: Netlink,
    sleep: SleepWatch,
    stop: Arc<Stop>,
}

impl RouteMonitor {
    /// Starts to listen in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The OS's, if there is no netlink.
    pub fn new() -> io::Result<Self> {
        Ok(Self { notifications: Netlink::open(GROUPS)?, sleep: SleepWatch::new()?, stop: Arc::new(Stop::new()?) })
    }

    /// Returns what ends [`RouteMonitor::run`].
    pub fn stopper(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// Calls `report` once for every burst of changes until told to stop. Blocks: run it on a thread of its own.
    ///
    /// # Errors
    /// The OS's, if waiting or listening fails: routes are no longer watched.
    pub fn run(mut self, mut report: impl FnMut(RouteEvent)) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.notifications, PollFlags::IN),
                PollFd::new(&self.sleep, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [stop, _, sleep] = fds.map(|fd| !fd.revents().is_empty());
            if stop {
                return Ok(());
            }
            if sleep && self.sleep.has_slept()? {
                report(RouteEvent::Resumed);
            }
            let mut heard = false;
            self.notifications.notifications(|_| heard = true)?;
            if heard {
                report(RouteEvent::Changed);
                if !self.rest()? {
                    return Ok(());
                }
            }
        }
    }
}

impl RouteMonitor {
    /// Lets changes gather, so that a routing daemon that loads a full table is not answered line by line; false if
    /// told to stop.
    fn rest(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.stop, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&REST)) {
            Ok(ready) => Ok(ready == 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Between two reports. A client that moves to another uplink sends within this time or a little more.
const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV4_RULE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32
    | 1 << (libc::RTNLGRP_IPV6_RULE - 1);
