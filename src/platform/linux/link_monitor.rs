//! What happens to the interface: up, down, another MTU, deleted; also after it was moved to another namespace.
//!
//! ```text
//!              its namespace is ours        it is not, and we may ask there     we may not
//!  woken by    netlink                      netlink (all namespaces), a second  a second
//!  then asks   RTM_GETLINK                  RTM_GETLINK in namespace n          poll and an empty write on the TUN
//! ```
//!
//! A "link deleted" notification is never believed: a move looks the same. The open TUN tells which it was.
//!
//! The monitor never enters the interface's namespace. A thread or a socket there would keep the namespace alive after
//! its last process has gone, and with it the interface; without one, deleting the namespace deletes the interface and
//! ends the daemon, as it should.
//!
//! Not here: what the device does about it (see `control`).
//!
//! Sources: rtnetlink(7), netlink(7) (NETLINK_LISTEN_ALL_NSID), Linux tun.c (TUNGETDEVNETNS).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use netlink_packet_route::RouteNetlinkMessage;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::netlink::{Link, Netlink};
use super::stop::Stop;
use super::tun::LinuxTun;

/// One change of the interface, or at the start its state: the MTU, then up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Administratively up.
    Up,
    /// Administratively down.
    Down,
    /// The largest packet is now so many bytes.
    Mtu(u32),
    /// Deleted. Nothing follows.
    Gone,
}

/// Watches one interface.
pub struct LinkMonitor {
    tun: Arc<LinuxTun>,
    questions: Netlink,
    notifications: Netlink,
    stop: Arc<Stop>,
    reported: Reported,
}

#[derive(Default)]
struct Reported {
    up: Option<bool>,
    mtu: Option<u32>,
}

/// Where the interface is and what is known of it.
enum State {
    Here(Link),
    Away(Link),
    /// In a namespace that we may not ask; up or not.
    Hidden(bool),
    Gone,
}

impl LinkMonitor {
    /// Starts to listen, in the network namespace of the calling thread. Changes from now on are reported once
    /// [`LinkMonitor::run`] runs. The interface is not deleted before the monitor is dropped, unless by somebody else.
    ///
    /// # Errors
    /// The OS's, if there is no netlink.
    pub fn new(tun: Arc<LinuxTun>) -> io::Result<Self> {
        Ok(Self {
            tun,
            questions: Netlink::open(0)?,
            notifications: Netlink::open(libc::RTMGRP_LINK as u32)?,
            stop: Arc::new(Stop::new()?),
            reported: Reported::default(),
        })
    }

    /// Returns what ends [`LinkMonitor::run`].
    pub fn stopper(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// Reports the state and then every change until told to stop or the interface is gone. Blocks: run it on a thread
    /// of its own. Changes that undo each other within moments may go unreported.
    ///
    /// # Errors
    /// The OS's, if waiting or listening fails: the interface is no longer watched.
    pub fn run(mut self, mut report: impl FnMut(LinkEvent)) -> io::Result<()> {
        loop {
            let (index, away) = match self.look() {
                State::Here(link) => (self.reported.link(link, &mut report), false),
                State::Away(link) => (self.reported.link(link, &mut report), true),
                State::Hidden(up) => {
                    self.reported.up(up, &mut report);
                    (None, true)
                }
                State::Gone => {
                    report(LinkEvent::Gone);
                    return Ok(());
                }
            };
            if !self.wait(index, away)? {
                return Ok(());
            }
        }
    }

    /// Finds the interface and asks for its state. A rename or a move between two questions starts the search anew.
    fn look(&mut self) -> State {
        for _ in 0..8 {
            let Some(name) = self.tun.attached_name() else { return State::Gone };
            let namespace = self.tun.foreign_namespace();
            // If it may not be known (or not on an old kernel), the name tells: unknown here, it is elsewhere.
            let permitted = namespace.is_ok();
            let number = match namespace {
                Err(error) if LinuxTun::is_gone(&error) => return State::Gone,
                Err(_) | Ok(None) => None,
                Ok(Some(namespace)) => match self.questions.namespace_number(namespace.as_fd()) {
                    Ok(number) => Some(number),
                    Err(_) => break,
                },
            };
            match self.questions.link(&name, number) {
                Ok(link) if number.is_none() => return State::Here(link),
                Ok(link) => return State::Away(link),
                Err(error) if permitted && error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(_) => break,
            }
        }
        self.tun.probe().map_or(State::Gone, State::Hidden)
    }

    /// Waits for a reason to look again; false if told to stop.
    fn wait(&self, index: Option<u32>, away: bool) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.notifications, PollFlags::IN),
                // Only POLLERR, which cannot be masked: the interface is gone.
                PollFd::from_borrowed_fd(self.tun.as_fd(), PollFlags::empty()),
            ];
            let ready = match rustix::event::poll(&mut fds, away.then_some(&LOOK_INTERVAL)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let [stop, notifications, tun] = fds.map(|fd| !fd.revents().is_empty());
            if stop {
                return Ok(false);
            }
            if ready == 0 || tun {
                return Ok(true);
            }
            // Away, a stream of others' notifications must not put the next look off for ever.
            if notifications && (self.concerned(index)? || away) {
                return Ok(true);
            }
        }
    }

    /// Reads the notifications; tells whether one is about `index`, which other namespaces may use too: then it was
    /// one look in vain.
    fn concerned(&self, index: Option<u32>) -> io::Result<bool> {
        let mut concerned = false;
        self.notifications.notifications(|message| {
            concerned |= match message {
                Some(RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)) => {
                    index.is_none_or(|index| link.header.index == index)
                }
                Some(_) => false,
                None => true,
            }
        })?;
        Ok(concerned)
    }
}

impl Reported {
    /// Reports what differs from the last report and returns the index.
    fn link(&mut self, link: Link, report: &mut impl FnMut(LinkEvent)) -> Option<u32> {
        if self.mtu.replace(link.mtu) != Some(link.mtu) {
            report(LinkEvent::Mtu(link.mtu));
        }
        self.up(link.up, report);
        Some(link.index)
    }

    fn up(&mut self, up: bool, report: &mut impl FnMut(LinkEvent)) {
        if self.up.replace(up) != Some(up) {
            report(if up { LinkEvent::Up } else { LinkEvent::Down });
        }
    }
}

/// How long a change can go unseen in a namespace whose notifications do not reach us.
const LOOK_INTERVAL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
