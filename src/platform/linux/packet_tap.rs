//! A copy of packets on their way, from the kernel: those of one interface, or the datagrams of one UDP port.
//!
//! The kernel makes the copies, for whoever runs this, and only while it does: the process that carries the packets knows
//! nothing of it and pays nothing. A filter in the kernel chooses, so that what does not concern us is never copied.
//!
//! Not here: what is done with packets (`control::capture`).
//!
//! Source: packet(7), Linux Documentation/networking/filter.rst.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use super::sys::{self, Received};
use crate::proto::time::WallTime;

/// What a tap lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// All that enters or leaves the interface of this number.
    Interface(u32),
    /// UDP from or to this port, on all interfaces.
    Port(u16),
}

/// A packet from its IP header, and what the kernel says of it.
#[derive(Clone, Copy, Debug)]
pub struct Tapped<'a> {
    /// When it passed.
    pub at: WallTime,
    /// The number of the interface.
    pub interface: u32,
    /// Whether it left here. On the loopback interface each packet does both, and is given once, as one that came in.
    pub is_outgoing: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// An open tap in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct PacketTap {
    socket: OwnedFd,
    buffers: Vec<Vec<u8>>,
}

impl PacketTap {
    /// Opens a tap.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW.
    pub fn open(taps: Taps) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let everything = Protocol::from_raw(EVERY_PROTOCOL);
        let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, Some(everything))?;
        // Until the filter stands, everything comes in.
        sys::attach_filter(socket.as_fd(), &NOTHING)?;
        let mut tap = Self { socket, buffers: vec![vec![0; MAX_LEN]; sys::MAX_RECEIVE] };
        while tap.receive(|_| {})? > 0 {}
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&tap.socket, BUFFER_LEN);
        sys::set_option(tap.socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        match taps {
            Taps::Interface(index) => sys::attach_filter(tap.socket.as_fd(), &of_interface(index))?,
            Taps::Port(port) => sys::attach_filter(tap.socket.as_fd(), &of_port(port))?,
        }
        Ok(tap)
    }

    /// Hands what waits to `take`, a batch at most; returns how many that were. Never blocks.
    ///
    /// # Errors
    /// The OS's, but for a socket that is empty.
    pub fn receive(&mut self, mut take: impl FnMut(Tapped<'_>)) -> io::Result<usize> {
        let mut received = [Received::default(); sys::MAX_RECEIVE];
        let buffers = self.buffers.iter_mut().map(Vec::as_mut_slice);
        let count = match sys::receive_messages(self.socket.as_fd(), buffers, &mut received) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            // Interfaces come and go; the socket stays.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => return Ok(0),
            result => result?,
        };
        for (message, buffer) in received[..count].iter().zip(&self.buffers) {
            let Some((interface, is_loopback, is_outgoing)) = origin(message.from.bytes()) else { continue };
            if is_loopback && is_outgoing {
                continue;
            }
            let at = message.control.timestamp().unwrap_or_else(|| {
                let (secs, nanos) = sys::real_time();
                WallTime { secs, nanos }
            });
            take(Tapped { at, interface, is_outgoing, bytes: &buffer[..message.len] });
        }
        Ok(count)
    }
}

impl AsFd for PacketTap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads a `sockaddr_ll`: the number of the interface, whether it is the loopback one, whether the packet leaves.
fn origin(name: &[u8]) -> Option<(u32, bool, bool)> {
    let index = u32::from_ne_bytes(*name.get(4..)?.first_chunk()?);
    let hardware = u16::from_ne_bytes(*name.get(8..)?.first_chunk()?);
    let kind = *name.get(10)?;
    Some((index, hardware == libc::ARPHRD_LOOPBACK, kind == libc::PACKET_OUTGOING))
}

const fn load(size: u32, mode: u32, from: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_LD | size | mode) as u16, jt: 0, jf: 0, k: from }
}

const fn jump(test: u32, value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt, jf, k: value }
}

const fn take(len: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: len }
}

const NOTHING: [libc::sock_filter; 1] = [take(0)];

const fn of_interface(index: u32) -> [libc::sock_filter; 4] {
    [
        load(libc::BPF_W, libc::BPF_ABS, KERNEL + IFINDEX),
        jump(libc::BPF_JEQ, index, 0, 1),
        take(MAX_LEN as u32),
        take(0),
    ]
}

/// IPv4 and no fragment but the first, or IPv6 without extension headers; UDP; either port.
const fn of_port(port: u16) -> [libc::sock_filter; 20] {
    let port = port as u32;
    let header_len =
        libc::sock_filter { code: (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16, jt: 0, jf: 0, k: 0 };
    [
        load(libc::BPF_H, libc::BPF_ABS, KERNEL + PROTOCOL),
        jump(libc::BPF_JEQ, libc::ETH_P_IP as u32, 0, 9),
        load(libc::BPF_B, libc::BPF_ABS, 9),
        jump(libc::BPF_JEQ, UDP, 0, 15),
        load(libc::BPF_H, libc::BPF_ABS, 6),
        jump(libc::BPF_JSET, 0x1fff, 13, 0),
        header_len,
        load(libc::BPF_H, libc::BPF_IND, 0),
        jump(libc::BPF_JEQ, port, 9, 0),
        load(libc::BPF_H, libc::BPF_IND, 2),
        jump(libc::BPF_JEQ, port, 7, 8),
        jump(libc::BPF_JEQ, libc::ETH_P_IPV6 as u32, 0, 7),
        load(libc::BPF_B, libc::BPF_ABS, 6),
        jump(libc::BPF_JEQ, UDP, 0, 5),
        load(libc::BPF_H, libc::BPF_ABS, 40),
        jump(libc::BPF_JEQ, port, 2, 0),
        load(libc::BPF_H, libc::BPF_ABS, 42),
        jump(libc::BPF_JEQ, port, 0, 1),
        take(MAX_LEN as u32),
        take(0),
    ]
}

const UDP: u32 = libc::IPPROTO_UDP as u32;
/// SKF_AD_OFF: from here on what the kernel knows, not what is in the packet.
const KERNEL: u32 = (-0x1000_i32).cast_unsigned();
/// SKF_AD_PROTOCOL and SKF_AD_IFINDEX.
const PROTOCOL: u32 = 0;
const IFINDEX: u32 = 8;
/// ETH_P_ALL in network order.
const EVERY_PROTOCOL: NonZeroU32 = NonZeroU32::new((libc::ETH_P_ALL as u16).to_be() as u32).expect("it is 3");
/// Bytes of the largest packet, merged ones included.
const MAX_LEN: usize = 1 << 18;
/// Bytes. What comes in while a batch is written to a disk.
const BUFFER_LEN: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's machine does with these programs: how many bytes it takes of `packet`.
    fn run(program: &[libc::sock_filter], packet: &[u8], protocol: u32, interface: u32) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
        let big = |at: u32, len: usize| {
            let bytes = packet.get(at as usize..)?.get(..len)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            if code == libc::BPF_RET {
                return step.k;
            }
            if code & 7 == libc::BPF_JMP {
                let holds = if code & 0xf0 == libc::BPF_JSET { a & step.k != 0 } else { a == step.k };
                at += usize::from(if holds { step.jt } else { step.jf });
                continue;
            }
            let len = match code & 0x18 {
                libc::BPF_W => 4,
                libc::BPF_H => 2,
                _ => 1,
            };
            let from = if code & 0xe0 == libc::BPF_IND { x + step.k } else { step.k };
            let value = match from {
                _ if code & 7 == libc::BPF_LDX => big(step.k, 1).map(|first| 4 * (first & 15)),
                from if from == KERNEL + PROTOCOL => Some(protocol),
                from if from == KERNEL + IFINDEX => Some(interface),
                from => big(from, len),
            };
            // A load beyond the packet drops it.
            let Some(value) = value else { return 0 };
            if code & 7 == libc::BPF_LDX { x = value } else { a = value }
        }
    }

    fn ipv4(options: usize, fragment: u16, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut packet = vec![0; 20 + 4 * options + 8];
        packet[0] = 0x45 + options as u8;
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        let start = packet.len() - 8;
        packet[start..][..2].copy_from_slice(&ports[0].to_be_bytes());
        packet[start + 2..][..2].copy_from_slice(&ports[1].to_be_bytes());
        packet
    }

    fn ipv6(protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut packet = vec![0; 48];
        (packet[0], packet[6]) = (0x60, protocol);
        packet[40..42].copy_from_slice(&ports[0].to_be_bytes());
        packet[42..44].copy_from_slice(&ports[1].to_be_bytes());
        packet
    }

    #[test]
    fn only_datagrams_of_the_port_pass() {
        let passes = |packet: &[u8], protocol: i32| run(&of_port(51820), packet, protocol as u32, 1) > 0;
        for ports in [[51820, 9], [9, 51820]] {
            assert!(passes(&ipv4(0, 0, 17, ports), libc::ETH_P_IP));
            assert!(passes(&ipv4(3, 0x4000, 17, ports), libc::ETH_P_IP), "options, and may not be fragmented");
            assert!(passes(&ipv6(17, ports), libc::ETH_P_IPV6));
            assert!(!passes(&ipv4(0, 0, 6, ports), libc::ETH_P_IP), "TCP");
            assert!(!passes(&ipv6(6, ports), libc::ETH_P_IPV6), "TCP");
            assert!(!passes(&ipv4(0, 7, 17, ports), libc::ETH_P_IP), "a later fragment");
            assert!(!passes(&ipv4(0, 0, 17, ports), libc::ETH_P_ARP), "neither");
        }
        assert!(!passes(&ipv4(0, 0, 17, [1, 2]), libc::ETH_P_IP));
        assert!(!passes(&ipv6(17, [1, 2]), libc::ETH_P_IPV6));
        assert!(!passes(&[0x45], libc::ETH_P_IP));
    }

    #[test]
    fn only_packets_of_the_interface_pass() {
        assert!(run(&of_interface(7), &[], 0, 7) > 0);
        assert_eq!(run(&of_interface(7), &[], 0, 8), 0);
    }

    #[test]
    fn what_is_no_link_address_is_passed_over() {
        assert_eq!(origin(&[0; 10]), None);
        let mut name = [0; 20];
        name[4..8].copy_from_slice(&5_u32.to_ne_bytes());
        name[8..10].copy_from_slice(&libc::ARPHRD_LOOPBACK.to_ne_bytes());
        name[10] = libc::PACKET_OUTGOING;
        assert_eq!(origin(&name), Some((5, true, true)));
    }
}
