//! A look at what passes the interfaces of a network namespace: datagrams of one UDP port, and ICMP errors about them.
//!
//! Packets are seen as the interfaces give and take them: incoming ones before any packet filter, outgoing ones after
//! all of them. What is seen coming in here and never arrives at its socket was dropped by this machine.
//!
//! Not here: what that says about a tunnel (see `control::doctor`).
//!
//! Sources: packet(7); RFC 791, RFC 8200, RFC 768; RFC 792 and RFC 4443 for the errors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

/// An open look. It needs CAP_NET_RAW.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// Something that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A UDP datagram.
    Datagram {
        /// Sender.
        src: SocketAddr,
        /// Receiver.
        dst: SocketAddr,
        /// The first byte of the payload: a message's type.
        kind: Option<u8>,
    },
    /// An ICMP error about a UDP datagram.
    Error {
        /// Who says so.
        from: IpAddr,
        /// What it says.
        error: IcmpError,
        /// Who had sent the datagram.
        src: SocketAddr,
        /// To whom.
        dst: SocketAddr,
    },
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Nobody listens on that port.
    PortUnreachable,
    /// The host does not answer, or there is no route to it.
    HostUnreachable,
    /// A packet filter forbids it.
    Prohibited,
    /// The datagram is longer than a link on its way.
    TooBig,
    /// Anything else.
    Other,
}

impl Tap {
    /// Looks at all interfaces of the network namespace of this thread, from now on.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW, EAFNOSUPPORT if the kernel has no packet sockets.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let all = Protocol::from_raw(ALL_PROTOCOLS);
        // A datagram socket: packets come without the header of their link.
        let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, Some(all))?;
        Ok(Self { socket, buffer: vec![0; LONGEST_PACKET] })
    }

    /// Waits for the next thing that passes, `patience` at most; `None` when that is over, or something else passed.
    ///
    /// # Errors
    /// The OS's.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<Passed>> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)))? == 0 {
            return Ok(None);
        }
        match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((len, _)) => Ok(parse(&self.buffer[..len])),
            // An interface went down.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::NETDOWN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads an IP packet; `None` if it is neither a UDP datagram's first part nor an error about one.
fn parse(packet: &[u8]) -> Option<Passed> {
    let ip = Ip::parse(packet)?;
    match ip.protocol {
        UDP => {
            let (src, dst) = ip.ports()?;
            Some(Passed::Datagram { src, dst, kind: ip.payload.get(UDP_HEADER_LEN).copied() })
        }
        ICMP | ICMP_V6 => {
            let (&kind, &code) = (ip.payload.first()?, ip.payload.get(1)?);
            let error = if ip.protocol == ICMP { error_v4(kind, code)? } else { error_v6(kind, code)? };
            let about = Ip::parse(ip.payload.get(ICMP_HEADER_LEN..)?)?;
            let (src, dst) = about.ports().filter(|_| about.protocol == UDP)?;
            Some(Passed::Error { from: ip.src, error, src, dst })
        }
        _ => None,
    }
}

fn error_v4(kind: u8, code: u8) -> Option<IcmpError> {
    match (kind, code) {
        (3, 3) => Some(IcmpError::PortUnreachable),
        (3, 4) => Some(IcmpError::TooBig),
        (3, 9 | 10 | 13) => Some(IcmpError::Prohibited),
        (3, _) => Some(IcmpError::HostUnreachable),
        (11 | 12, _) => Some(IcmpError::Other),
        _ => None,
    }
}

fn error_v6(kind: u8, code: u8) -> Option<IcmpError> {
    match (kind, code) {
        (1, 4) => Some(IcmpError::PortUnreachable),
        (1, 1 | 5 | 6) => Some(IcmpError::Prohibited),
        (1, _) => Some(IcmpError::HostUnreachable),
        (2, _) => Some(IcmpError::TooBig),
        (3 | 4, _) => Some(IcmpError::Other),
        _ => None,
    }
}

/// What is needed of an IP packet. The end may be missing, as in an error about it.
struct Ip<'a> {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
        let payload = packet.get(usize::from(header[0] & 0xf) * 4..).filter(|_| is_first)?;
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        Some(Self { src: address(12), dst: address(16), protocol: header[9], payload })
    }

    /// Extension headers are not followed: a datagram of ours has none.
    fn parse_v6(packet: &'a [u8]) -> Option<Self> {
        let (header, payload) = packet.split_first_chunk::<40>()?;
        let address = |at: usize| {
            let octets: [u8; 16] = std::array::from_fn(|n| header[at + n]);
            Ipv6Addr::from(octets).into()
        };
        Some(Self { src: address(8), dst: address(24), protocol: header[6], payload })
    }

    fn ports(&self) -> Option<(SocketAddr, SocketAddr)> {
        let &[s0, s1, d0, d1] = self.payload.first_chunk()?;
        let (src, dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        Some((SocketAddr::new(self.src, src), SocketAddr::new(self.dst, dst)))
    }
}

/// ETH_P_ALL, in network byte order.
const ALL_PROTOCOLS: std::num::NonZeroU32 =
    std::num::NonZeroU32::new((libc::ETH_P_ALL as u16).to_be() as u32).expect("it is 3");
/// That of a merged packet.
const LONGEST_PACKET: usize = 1 << 16;
const UDP_HEADER_LEN: usize = 8;
const ICMP_HEADER_LEN: usize = 8;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

#[cfg(test)]
mod tests {
    use super::*;

    fn udp_v4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        packet.extend([0xca, 0x6c, 0, 9, 0, 20, 0, 0, 1, 0, 0, 0]);
        packet
    }

    fn addresses() -> (SocketAddr, SocketAddr) {
        ("192.0.2.1:51820".parse().expect("an address"), "192.0.2.2:9".parse().expect("an address"))
    }

    #[test]
    fn a_datagram_is_known_by_its_addresses_and_its_first_byte() {
        let (src, dst) = addresses();
        assert_eq!(parse(&udp_v4()), Some(Passed::Datagram { src, dst, kind: Some(1) }));
        let mut later_part = udp_v4();
        later_part[7] = 1;
        assert_eq!(parse(&later_part), None);
    }

    #[test]
    fn an_error_is_known_by_what_it_is_about() {
        let (src, dst) = addresses();
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
        packet.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        packet.extend(&udp_v4()[..28]);
        let error = IcmpError::PortUnreachable;
        assert_eq!(parse(&packet), Some(Passed::Error { from: dst.ip(), error, src, dst }));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 0, ICMP_V6, 64];
        v6.extend([[0x20; 16], [0x21; 16]].concat());
        v6.extend([1, 4, 0, 0, 0, 0, 0, 0]);
        v6.extend(udp_v4());
        let from = Ipv6Addr::from([0x20; 16]).into();
        assert_eq!(parse(&v6), Some(Passed::Error { from, error, src, dst }));
    }

    #[test]
    fn pieces_of_packets_are_survived() {
        let mut packet = vec![0x4f, 0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
        packet.extend([3; 80]);
        for packet in [packet, udp_v4(), vec![0x60; 60], vec![0x45; 60]] {
            for len in 0..=packet.len() {
                let _ = parse(&packet[..len]);
            }
        }
    }
}
