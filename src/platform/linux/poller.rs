//! What a packet thread sleeps on: the TUN, the UDP sockets that are bound at the time, and an event to be woken by.
//!
//! Sockets are added when they are bound and leave by themselves when they are closed; nothing is removed by hand.
//!
//! Source: epoll(7), eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::dataplane::io::{Poller, Ready};

/// An epoll instance. Level-triggered.
#[derive(Debug)]
pub struct LinuxPoller {
    epoll: OwnedFd,
    wake: OwnedFd,
}

impl LinuxPoller {
    /// Makes a poller for `tun` and no socket yet.
    ///
    /// # Errors
    /// The OS's, if there are too many open files.
    pub fn new(tun: BorrowedFd<'_>) -> io::Result<Self> {
        let poller = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            wake: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        poller.add(tun, TUN)?;
        poller.add(poller.wake.as_fd(), WAKE)?;
        Ok(poller)
    }

    /// Adds the socket for IPv4 or the one for IPv6, until it is closed.
    pub(super) fn add_socket(&self, socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
        self.add(socket, if v6 { UDP_V6 } else { UDP_V4 })
    }

    fn add(&self, fd: BorrowedFd<'_>, what: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(what), EventFlags::IN)?)
    }
}

impl Poller for LinuxPoller {
    fn wait(&self) -> io::Result<Ready> {
        // One TUN, one event, and two sockets each of the port in use and of one that replaces it.
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 6];
        let count = rustix::io::retry_on_intr(|| epoll::wait(&self.epoll, &mut events, None))?;
        let mut ready = Ready::default();
        for event in &events[..count] {
            match event.data.u64() {
                TUN => ready.tun = true,
                UDP_V4 => ready.udp.v4 = true,
                UDP_V6 => ready.udp.v6 = true,
                _ => drain(&self.wake),
            }
        }
        Ok(ready)
    }

    fn wake(&self) {
        // The only failure is a counter at its limit, in which case it wakes anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl AsFd for LinuxPoller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn drain(event: &OwnedFd) {
    // A failure means that another thread drained it.
    let _ = rustix::io::read(event, &mut [0_u8; 8]);
}

const TUN: u64 = 0;
const UDP_V4: u64 = 1;
const UDP_V6: u64 = 2;
const WAKE: u64 = 3;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::dataplane::io::Families;

    fn poller() -> (LinuxPoller, OwnedFd) {
        let stand_in = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        (LinuxPoller::new(stand_in.as_fd()).unwrap(), stand_in)
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_wakes_once() {
        let (poller, stand_in) = poller();
        poller.wake();
        poller.wake();
        assert_eq!(poller.wait().unwrap(), Ready::default());
        rustix::io::write(&stand_in, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(poller.wait().unwrap(), Ready { tun: true, udp: Families::NONE });
        assert_eq!(poller.wait().unwrap(), Ready { tun: true, udp: Families::NONE });
    }

    #[test]
    fn a_socket_is_heard_as_its_family_until_it_is_closed() {
        for udp in [Families { v4: true, v6: false }, Families { v4: false, v6: true }] {
            let (poller, _stand_in) = poller();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            poller.add_socket(socket.as_fd(), udp.v6).unwrap();
            socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
            assert_eq!(poller.wait().unwrap(), Ready { tun: false, udp });
            drop(socket);
            poller.wake();
            assert_eq!(poller.wait().unwrap(), Ready::default());
        }
    }
}
