//! Pings of a chosen length by a chosen interface: whether an address answers, and up to which length.
//!
//! The interface is chosen, not the route: so it is the tunnel that is measured, also where a route is missing. Packets
//! are not to be fragmented, and what the kernel has learnt about the path does not count: it is asked anew.
//!
//! Sources: raw(7), ip(7), ipv6(7); RFC 792, RFC 4443.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::{LinuxClock, sys};
use crate::dataplane::io::Clock;

/// A socket to one address. It needs CAP_NET_RAW.
#[derive(Debug)]
pub struct Echo {
    socket: OwnedFd,
    to: IpAddr,
    identifier: u16,
    sequence: u16,
}

impl Echo {
    /// Opens a socket for pings to `to` by the interface `index`.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW.
    pub fn open(to: IpAddr, index: u32) -> io::Result<Self> {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol))?;
        let index = index.to_be().cast_signed();
        if to.is_ipv4() {
            sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_UNICAST_IF, index)?;
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        } else {
            sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF, index)?;
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
        }
        Ok(Self { socket, to, identifier: std::process::id() as u16, sequence: 0 })
    }

    /// Sends a ping that is `len` bytes long with its IP header, and waits for the answer, `patience` at most; tells
    /// whether it came.
    ///
    /// # Errors
    /// The OS's: EMSGSIZE if the interface takes no packet of this length, ENETUNREACH, EHOSTUNREACH.
    pub fn ping(&mut self, len: usize, patience: Duration) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = self.message(len);
        rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &SocketAddr::new(self.to, 0))?;
        let deadline = LinuxClock.now().plus(patience);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let left = deadline.since(LinuxClock.now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            rustix::io::retry_on_intr(|| {
                rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left))
            })?;
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((len, _)) if self.is_answer(&buffer[..len]) => return Ok(true),
                Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// An echo request. The kernel puts the IP header before it, and in IPv6 the checksum in.
    fn message(&self, len: usize) -> Vec<u8> {
        let mut message = vec![0; len.saturating_sub(header_len(self.to)).max(MESSAGE_LEN)];
        message[0] = if self.to.is_ipv4() { 8 } else { 128 };
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        if self.to.is_ipv4() {
            let sum: u32 =
                [message[0], message[1]].map(u32::from).iter().zip([256, 1]).map(|(byte, of)| byte * of).sum();
            let sum = sum + u32::from(self.identifier) + u32::from(self.sequence);
            let folded = (sum & 0xffff) + (sum >> 16);
            message[2..4].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
        }
        message
    }

    fn is_answer(&self, packet: &[u8]) -> bool {
        // An IPv4 socket gives the IP header, too.
        let start = if self.to.is_ipv4() { packet.first().map_or(0, |first| usize::from(first & 0xf) * 4) } else { 0 };
        let Some(&[kind, _, _, _, i0, i1, s0, s1]) = packet.get(start..).and_then(<[u8]>::first_chunk) else {
            return false;
        };
        kind == if self.to.is_ipv4() { 0 } else { 129 }
            && u16::from_be_bytes([i0, i1]) == self.identifier
            && u16::from_be_bytes([s0, s1]) == self.sequence
    }
}

/// Bytes of an IP header without options.
const fn header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Bytes of an echo request without data.
const MESSAGE_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface, which is the first of every namespace; no more where raw sockets are forbidden.
    fn echo(to: &str) -> Option<Echo> {
        Echo::open(to.parse().unwrap(), 1).ok()
    }

    #[test]
    fn our_own_machine_answers_at_any_length_that_its_loopback_takes() {
        let Some(mut echo) = echo("127.0.0.1") else { return };
        for len in [0, 28, 1_500, 9_000] {
            assert!(echo.ping(len, Duration::from_secs(5)).unwrap(), "{len}");
        }
        assert!(echo.ping(65_536, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn only_the_answer_to_the_last_request_is_one() {
        let Some(mut echo) = echo("::1") else { return };
        echo.sequence = 7;
        let mut answer = echo.message(100);
        assert!(!echo.is_answer(&answer), "our own request");
        answer[0] = 129;
        assert!(echo.is_answer(&answer));
        answer[7] = 6;
        assert!(!echo.is_answer(&answer), "an earlier one");
        assert!(!echo.is_answer(&[129]));
    }
}
