//! Questions to and notifications from the kernel about links, routes and namespaces.
//!
//! Every socket stays in the network namespace of the thread that opened it. Answers to questions are queued before
//! the question's system call returns, so that nothing here waits.
//!
//! The crate `rtnetlink` is not used: it is tokio and a task for each socket, and the monitors and `rvpn up` ask one
//! question after another from plain threads.
//!
//! Not here: what a change means (see `link_monitor`, `route_monitor`), and making changes (see `network`).
//!
//! Sources: netlink(7), rtnetlink(7), RFC 3549.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType};

use super::sys;
use crate::proto::endpoint::Source;

/// One routing netlink socket, close-on-exec and non-blocking.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The interface index, in the namespace asked.
    pub(super) index: u32,
    /// Administratively up.
    pub(super) up: bool,
    /// Largest packet in bytes.
    pub(super) mtu: u32,
}

impl Netlink {
    /// Opens a socket that hears `groups` (a mask of RTMGRP_*); 0 for one that only asks.
    ///
    /// With CAP_NET_BROADCAST it also hears the namespaces that have a number in this one, as every namespace gets to
    /// which a link was moved from here.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol 0 is NETLINK_ROUTE.
        let socket = rustix::net::socket_with(rustix::net::AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        if groups != 0 {
            // Without the capability the monitor asks once a second instead.
            let _ = sys::set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID, 1);
        }
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_LEN] })
    }

    /// Reads all notifications that wait and hands them to `each`; `None` stands for one or more that were lost or
    /// cannot be read.
    pub(super) fn notifications(&self, mut each: impl FnMut(Option<&RouteNetlinkMessage>)) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let len = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((_, len)) => len,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::NOBUFS) => {
                    each(None);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(datagram) = buffer.get(..len) else {
                each(None);
                continue;
            };
            for message in Messages(datagram) {
                match message.map(|message| message.payload) {
                    Some(NetlinkPayload::InnerMessage(message)) => each(Some(&message)),
                    Some(_) => {}
                    None => each(None),
                }
            }
        }
    }

    /// Returns the link called `name`, in this namespace or the one numbered `namespace`.
    ///
    /// # Errors
    /// ENODEV if there is none.
    pub(super) fn link(&mut self, name: &str, namespace: Option<i32>) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        question.attributes.extend(namespace.map(LinkAttribute::IfNetnsId));
        self.ask_link(question)
    }

    fn ask_link(&mut self, question: LinkMessage) -> io::Result<Link> {
        let Some(RouteNetlinkMessage::NewLink(link)) = self.ask(RouteNetlinkMessage::GetLink(question), 0)? else {
            return Err(unexpected());
        };
        let mtu = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        Ok(Link {
            index: link.header.index,
            up: link.header.flags.contains(LinkFlags::Up),
            mtu: mtu.ok_or_else(unexpected)?,
        })
    }

    /// Sets the largest packet and the length of the transmit queue of a link.
    pub(super) fn configure_link(&mut self, index: u32, mtu: u32, queue_len: u32) -> io::Result<()> {
        let mut change = LinkMessage::default();
        change.header.index = index;
        change.attributes = vec![LinkAttribute::Mtu(mtu), LinkAttribute::TxQueueLen(queue_len)];
        self.ask(RouteNetlinkMessage::SetLink(change), NLM_F_ACK).map(drop)
    }

    /// Returns the number of the namespace `namespace` in this one, giving it one if it has none.
    pub(super) fn namespace_number(&mut self, namespace: BorrowedFd<'_>) -> io::Result<i32> {
        if let Some(number) = self.known_namespace_number(namespace)? {
            return Ok(number);
        }
        let mut assignment = NsidMessage::default();
        assignment.attributes = vec![NsidAttribute::Fd(namespace.as_raw_fd() as u32), NsidAttribute::Id(-1)];
        match self.ask(RouteNetlinkMessage::NewNsId(assignment), NLM_F_ACK) {
            // Somebody else numbered it in between.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => drop(result?),
        }
        self.known_namespace_number(namespace)?.ok_or_else(unexpected)
    }

    fn known_namespace_number(&mut self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd() as u32));
        let Some(RouteNetlinkMessage::NewNsId(answer)) = self.ask(RouteNetlinkMessage::GetNsId(question), 0)? else {
            return Err(unexpected());
        };
        Ok(answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(number) => Some(*number).filter(|&number| number >= 0),
            _ => None,
        }))
    }

    /// Returns the local address and the interface by which packets marked `mark` to `remote` leave; `None` if there is
    /// no route. The kernel may not say the address, which is then that of no interface.
    pub(super) fn source_towards(&mut self, remote: SocketAddr, mark: u32) -> io::Result<Option<Source>> {
        let Some(route) = self.route(remote, mark)? else { return Ok(None) };
        let address = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
            _ => None,
        });
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(interface_of(&route).map(|interface| Source { address, interface }))
    }

    /// Returns how long a packet marked `mark` to `remote` may be without being fragmented, in bytes: what the route says
    /// or has learnt, else the interface; `None` if there is no route.
    pub(super) fn path_mtu(&mut self, remote: SocketAddr, mark: u32) -> io::Result<Option<u32>> {
        let Some(route) = self.route(remote, mark)? else { return Ok(None) };
        let metrics = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics),
            _ => None,
        });
        let said = metrics.into_iter().flatten().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        match (said, interface_of(&route)) {
            (Some(mtu), _) => Ok(Some(mtu)),
            (None, Some(interface)) => {
                let mut question = LinkMessage::default();
                question.header.index = interface;
                Ok(Some(self.ask_link(question)?.mtu))
            }
            (None, None) => Ok(None),
        }
    }

    fn route(&mut self, remote: SocketAddr, mark: u32) -> io::Result<Option<RouteMessage>> {
        let ip = remote.ip().to_canonical();
        let mut question = RouteMessage::default();
        question.header.address_family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        question.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
        question.attributes.push(RouteAttribute::Destination(RouteAddress::from(ip)));
        if mark != 0 {
            question.attributes.push(RouteAttribute::Mark(mark));
        }
        if let SocketAddr::V6(remote) = remote
            && remote.scope_id() != 0
        {
            question.attributes.push(RouteAttribute::Oif(remote.scope_id()));
        }
        let answer = match self.ask(RouteNetlinkMessage::GetRoute(question), 0) {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(RouteNetlinkMessage::NewRoute(route)) = answer else { return Err(unexpected()) };
        Ok(Some(route))
    }

    /// Sends one question and returns its answer, `None` if that is a mere acknowledgement.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(question, flags)?;
        let mut answer = None;
        self.receive(|payload| match payload {
            NetlinkPayload::InnerMessage(message) => {
                answer = Some(message);
                Ok(true)
            }
            payload => is_end(&payload),
        })?;
        Ok(answer)
    }

    /// Sends one question and returns all there is, as much of it as can be read. It is asked again, a few times, while
    /// what is listed changes under the list.
    pub(super) fn ask_all(&mut self, question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut tries = DUMP_TRIES;
        loop {
            self.send(question.clone(), NLM_F_DUMP)?;
            let mut answer = Dump::default();
            while !answer.has_ended {
                let len = self.receive_datagram()?;
                answer.add(&self.buffer[..len], self.sequence)?;
            }
            tries -= 1;
            if !answer.is_torn || tries == 0 {
                return Ok(answer.messages);
            }
        }
    }

    fn send(&mut self, question: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| rustix::net::sendto(&self.socket, &bytes, SendFlags::empty(), &kernel))?;
        Ok(())
    }

    /// Fills the buffer, and returns up to where.
    fn receive_datagram(&mut self) -> io::Result<usize> {
        let (_, len) =
            rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC))?;
        if len <= self.buffer.len() { Ok(len) } else { Err(unexpected()) }
    }

    /// Hands what answers the last question to `each` until that returns `true`.
    fn receive(
        &mut self,
        mut each: impl FnMut(NetlinkPayload<RouteNetlinkMessage>) -> io::Result<bool>,
    ) -> io::Result<()> {
        loop {
            let len = self.receive_datagram()?;
            for message in Messages(&self.buffer[..len]) {
                let Some(message) = message else { return Err(unexpected()) };
                if message.header.sequence_number == self.sequence && each(message.payload)? {
                    return Ok(());
                }
            }
        }
    }
}

/// What has come of a list so far.
#[derive(Default)]
struct Dump {
    messages: Vec<RouteNetlinkMessage>,
    /// It changed while it was listed: something may be there twice, or missing.
    is_torn: bool,
    has_ended: bool,
}

impl Dump {
    /// Takes one datagram. What cannot be read is left out: it is of a kind that nothing here asks for.
    fn add(&mut self, datagram: &[u8], sequence: u32) -> io::Result<()> {
        for message in Messages(datagram).flatten().filter(|message| message.header.sequence_number == sequence) {
            self.is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => self.messages.push(message),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                }
                payload => self.has_ended |= is_end(&payload)?,
            }
        }
        Ok(())
    }
}

/// Returns whether an answer ends with this.
fn is_end(payload: &NetlinkPayload<RouteNetlinkMessage>) -> io::Result<bool> {
    match payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => Ok(true),
        _ => Ok(false),
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn interface_of(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(interface) => Some(*interface),
        _ => None,
    })
}

/// The messages of one datagram; `None` for one that cannot be read.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl Iterator for Messages<'_> {
    type Item = Option<NetlinkMessage<RouteNetlinkMessage>>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let Some(message) = self.0.get(..len).filter(|_| len >= HEADER_LEN) else {
            self.0 = &[];
            return Some(None);
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message).ok())
    }
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about a link, route or namespace cannot be read")
}

/// A link's description is 1 to 3 KiB; that of hardware with virtual functions may be longer, and is not ours.
const BUFFER_LEN: usize = 32 * 1024;
/// Of one list.
const DUMP_TRIES: u32 = 8;
/// struct nlmsghdr.
const HEADER_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_and_nothing_is_called_like_this() {
        let mut netlink = Netlink::open(0).unwrap();
        assert_eq!(netlink.link("lo", None).unwrap().index, 1);
        let error = netlink.link("no-such-link", None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn own_addresses_are_reached_by_the_loopback() {
        let mut netlink = Netlink::open(0).unwrap();
        let loopback = Source { address: "127.0.0.1".parse().unwrap(), interface: 1 };
        for remote in ["127.0.0.1:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(netlink.source_towards(remote.parse().unwrap(), 0).unwrap(), Some(loopback));
        }
    }

    #[test]
    fn messages_with_senseless_lengths_end_the_datagram() {
        for len in [0_u32, 15, 17, u32::MAX] {
            let mut datagram = [0; 16];
            datagram[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Messages(&datagram).map(|message| message.is_some()).collect::<Vec<_>>(), [false], "{len}");
        }
        assert_eq!(Messages(&[1, 2, 3]).count(), 0);
    }

    /// A message of this type, with these flags and this body.
    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_LEN + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_list_leaves_out_what_cannot_be_read_and_knows_that_it_is_torn() {
        // A struct rtmsg without attributes, and half of one.
        let (whole, half) = (message(libc::RTM_NEWROUTE, 0, &[0; 12]), message(libc::RTM_NEWROUTE, 0, &[0; 4]));
        let done = message(libc::NLMSG_DONE as u16, NLM_F_DUMP_INTR, &[0; 4]);
        let mut dump = Dump::default();
        dump.add(&[&whole[..], &half, &whole].concat(), 7).unwrap();
        assert_eq!((dump.messages.len(), dump.is_torn, dump.has_ended), (2, false, false));
        dump.add(&done, 6).unwrap();
        assert!(!dump.has_ended);
        dump.add(&done, 7).unwrap();
        assert!(dump.is_torn && dump.has_ended);
    }

    #[test]
    fn a_list_that_ends_with_an_error_is_one() {
        let done = message(libc::NLMSG_DONE as u16, 0, &(-libc::EPERM).to_ne_bytes());
        let error = Dump::default().add(&done, 7).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
