//! The UDP sockets of a device: one for IPv4, one for IPv6, on the same port.
//!
//! Answers leave from the address the peer talked to: its packet information is handed up as an endpoint's source, and
//! given back to the kernel on sending. Fragmentation is allowed (path MTU discovery off), as with the kernel's driver.
//! Addresses are not shared with other sockets (no SO_REUSEADDR, no SO_REUSEPORT), so that a port in use is an error.
//!
//! Not here: the layout of control messages (see `cmsg`), cutting trains (see `udp_offload`), when a source is
//! forgotten (see `proto::peer`).
//!
//! Source: ip(7), ipv6(7), udp(7), socket(7).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use super::alone::Alone;
use super::cmsg::ControlBuffer;
use super::netlink::Netlink;
use super::placement::Placement;
use super::poller::LinuxPoller;
use super::socket_name::SocketName;
use super::sys::{self, Outgoing, Received};
use super::udp_offload::{self, Bounds, Trains};
use crate::dataplane::io::{Families, Network, Transmit, Udp};
use crate::dataplane::packet::{MAX_UDP_BATCH, UdpBatch};
use crate::proto::endpoint::{Endpoint, Source};

/// Makes sockets in the network namespace of the thread that made this, and knows that namespace's routes.
///
/// # Locking
/// One mutex around the routing socket, held for one question; no other lock is taken under it.
pub struct LinuxNetwork {
    poller: Arc<LinuxPoller>,
    trains: Trains,
    placement: Placement,
    routes: Arc<Mutex<Netlink>>,
    /// Sockets of another process, to be given out at the first bind.
    given: Mutex<Option<Sockets>>,
    /// Those that were bound and may still be in use.
    bound: Mutex<Vec<Weak<LinuxUdp>>>,
}

/// Bound sockets of one port: for IPv4 and for IPv6, at least one.
pub type Sockets = [Option<OwnedFd>; 2];

impl LinuxNetwork {
    /// Makes sockets at `placement` that wake `poller` and hand such `trains` to the kernel; with any, it also merges what
    /// arrives.
    ///
    /// # Errors
    /// The OS's, if there is no netlink.
    pub fn new(poller: Arc<LinuxPoller>, trains: Trains, placement: Placement) -> io::Result<Self> {
        let (given, bound) = (Mutex::new(None), Mutex::new(Vec::new()));
        Ok(Self { poller, trains, placement, routes: Arc::new(Mutex::new(Netlink::open(0)?)), given, bound })
    }

    /// Tries whether sockets can be where they shall be.
    ///
    /// # Errors
    /// Those of [`Network::bind`].
    pub fn try_placement(&self) -> io::Result<()> {
        if self.placement != Placement::default() {
            LinuxUdp::bind(0, 0, self.trains, &self.placement, &self.routes)?;
        }
        Ok(())
    }

    /// Takes over sockets that another process has bound and configured: the next bind to their port returns them.
    pub fn give(&self, sockets: Sockets) {
        *lock(&self.given) = Some(sockets);
    }

    /// Returns duplicates of the sockets bound to `port`, for another process.
    ///
    /// # Errors
    /// The OS's, if there are too many open files.
    pub fn sockets(&self, port: u16) -> io::Result<Option<Sockets>> {
        let bound = lock(&self.bound).iter().filter_map(Weak::upgrade).find(|udp| udp.port == port);
        let duplicate = |socket: &Option<OwnedFd>| socket.as_ref().map(OwnedFd::try_clone).transpose();
        bound.map(|udp| Ok([duplicate(&udp.v4)?, duplicate(&udp.v6)?])).transpose()
    }

    /// Binds sockets, or takes those of another process that are bound to `port` already.
    fn bind_or_take(&self, port: u16, mark: u32) -> io::Result<LinuxUdp> {
        if let Some(sockets) = lock(&self.given).take()
            && port_of(&sockets)? == port
        {
            return LinuxUdp::take(sockets, mark, self.trains, &self.routes);
        }
        LinuxUdp::bind(port, mark, self.trains, &self.placement, &self.routes)
    }
}

/// # Errors
/// EBADF if there is no socket, which its makers rule out.
fn port_of(sockets: &Sockets) -> io::Result<u16> {
    let socket = sockets.iter().flatten().next().ok_or(rustix::io::Errno::BADF)?;
    Ok(SocketAddr::try_from(rustix::net::getsockname(socket)?)?.port())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network for LinuxNetwork {
    /// Must be called from a thread in the namespace the sockets shall be in.
    fn bind(&self, port: u16, mark: u32) -> io::Result<Arc<dyn Udp>> {
        let udp = self.bind_or_take(port, mark)?;
        if let Some(v4) = &udp.v4 {
            self.poller.add_socket(v4.as_fd(), false)?;
        }
        if let Some(v6) = &udp.v6 {
            self.poller.add_socket(v6.as_fd(), true)?;
        }
        let udp = Arc::new(udp);
        let mut bound = lock(&self.bound);
        bound.retain(|udp| udp.strong_count() > 0);
        bound.push(Arc::downgrade(&udp));
        Ok(udp)
    }

    fn source_towards(&self, remote: SocketAddr, mark: u32) -> Option<Source> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.source_towards(remote, mark).ok().flatten()
    }
}

/// Two bound sockets, or one: without IPv6, or where only an address of one family is listened at.
#[derive(Debug)]
struct LinuxUdp {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
    port: u16,
    trains: Trains,
    /// Those of the namespace the sockets are in.
    routes: Arc<Mutex<Netlink>>,
    /// The firewall mark, by which routes may be chosen. Relaxed: it orders nothing.
    mark: AtomicU32,
    /// The kernel merges what comes in, for each family there is.
    receives_trains: bool,
    /// Which family is received from first next time. Relaxed: a hint for fairness that orders nothing.
    v6_first: AtomicBool,
    alone: Alone,
}

impl LinuxUdp {
    fn bind(
        port: u16,
        mark: u32,
        trains: Trains,
        placement: &Placement,
        routes: &Arc<Mutex<Netlink>>,
    ) -> io::Result<Self> {
        let mut attempts = if port == 0 { RANDOM_PORT_ATTEMPTS } else { 1 };
        loop {
            match Self::bind_both(port, mark, trains, placement, routes) {
                // The port chosen for IPv4 is taken for IPv6; another may be free.
                Err(error) if error.kind() == ErrorKind::AddrInUse && attempts > 1 => attempts -= 1,
                result => return result,
            }
        }
    }

    fn bind_both(
        port: u16,
        mark: u32,
        trains: Trains,
        placement: &Placement,
        routes: &Arc<Mutex<Netlink>>,
    ) -> io::Result<Self> {
        let (with_v4, with_v6) = placement.families();
        let mut port = port;
        let v4 = if with_v4 {
            let address = placement.v4.unwrap_or(Ipv4Addr::UNSPECIFIED).into();
            Some(placement.bind(open_v4(mark)?, address, &mut port)?)
        } else {
            None
        };
        let v6 = if with_v6 {
            let address = placement.v6.unwrap_or(Ipv6Addr::UNSPECIFIED).into();
            match open_v6(mark).and_then(|v6| placement.bind(v6, address, &mut port)) {
                Ok(v6) => Some(v6),
                Err(error) if v4.is_some() && placement.v6.is_none() && is_without_ipv6(&error) => None,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        Self::take([v4, v6], mark, trains, routes)
    }

    /// Takes sockets that are bound and marked, and settles what they merge and cut.
    fn take(sockets: Sockets, mark: u32, trains: Trains, routes: &Arc<Mutex<Netlink>>) -> io::Result<Self> {
        let port = port_of(&sockets)?;
        let mut segments = trains != Trains::None;
        let mut merges = segments;
        for socket in sockets.iter().flatten() {
            if trains == Trains::None {
                // The process that had it before may have asked for it. What cannot merge does not.
                let _ = sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 0);
            } else {
                // Without it trains arrive as single datagrams.
                merges &= sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
                segments &= sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
            }
        }
        let trains = if segments { trains } else { Trains::None };
        let [v4, v6] = sockets;
        let (mark, v6_first) = (AtomicU32::new(mark), AtomicBool::new(false));
        Ok(Self {
            v4,
            v6,
            port,
            trains,
            routes: Arc::clone(routes),
            mark,
            receives_trains: merges,
            v6_first,
            alone: Alone::default(),
        })
    }

    /// Receives what waits at one socket, as far as buffers are free.
    fn receive_from(&self, socket: BorrowedFd<'_>, batch: &mut UdpBatch) -> io::Result<()> {
        if batch.free().is_empty() {
            return Ok(());
        }
        if self.alone.is_expected() {
            self.receive_messages::<1>(socket, batch)
        } else {
            self.receive_messages::<MAX_UDP_BATCH>(socket, batch)
        }
    }

    /// As `receive_from`, at most `N` messages.
    fn receive_messages<const N: usize>(&self, socket: BorrowedFd<'_>, batch: &mut UdpBatch) -> io::Result<()> {
        let mut received = [Received::default(); N];
        // `push` takes the last free buffer, so the first message goes there.
        let buffers = batch.free().iter_mut().rev().map(|buffer| &mut **buffer);
        let count = match sys::receive_messages(socket, buffers, &mut received) {
            Ok(count) => count,
            Err(error) if is_transient(&error) => 0,
            Err(error) => return Err(error),
        };
        self.alone.found(count, received[..count].iter().map(|message| message.len).sum());
        for message in &received[..count] {
            let Some(remote) = message.from.address().filter(|_| !message.truncated) else {
                batch.discard();
                continue;
            };
            let control = message.control.parse();
            let segment_len = control.segment_len.map_or(message.len, |len| len.min(message.len)).max(1);
            let from = Endpoint { remote, source: control.source };
            batch.push(message.len, segment_len, from, control.ds & ECN_MASK);
        }
        Ok(())
    }

    /// Sends transmits of one family; returns how many were sent in full.
    fn send_run(&self, v6: bool, transmits: &[Transmit<'_>]) -> (usize, io::Result<()>) {
        let Some(socket) = (if v6 { &self.v6 } else { &self.v4 }) else {
            return (0, Err(rustix::io::Errno::AFNOSUPPORT.into()));
        };
        let len = if v6 { udp_offload::MAX_LEN_V6 } else { udp_offload::MAX_LEN_V4 };
        let bounds = Bounds { trains: self.trains, len };
        let mut sent = 0;
        let mut patience = true;
        let error = loop {
            let messages = transmits
                .iter()
                .flat_map(|transmit| udp_offload::messages(transmit, bounds).map(move |bytes| (transmit, bytes)))
                .skip(sent)
                .map(|(transmit, bytes)| outgoing(transmit, bytes, v6));
            match sys::send_messages(socket.as_fd(), messages) {
                Ok(0) => return (transmits.len(), Ok(())),
                Ok(count) => {
                    sent += count;
                    patience = true;
                }
                Err(error) if !patience => break error,
                Err(error) => {
                    patience = false;
                    match error.kind() {
                        ErrorKind::WouldBlock => wait_writable(socket),
                        // An ICMP error that came in for an earlier datagram, reported by this call.
                        ErrorKind::ConnectionRefused => {}
                        _ => break error,
                    }
                }
            }
        };
        let mut left = sent;
        let whole = transmits.iter().take_while(|transmit| {
            let count = udp_offload::count(transmit, bounds);
            let whole = count <= left;
            left = left.saturating_sub(count);
            whole
        });
        (whole.count(), Err(error))
    }
}

impl Udp for LinuxUdp {
    fn port(&self) -> u16 {
        self.port
    }

    fn receive(&self, families: Families, batch: &mut UdpBatch) -> io::Result<()> {
        let v4 = self.v4.as_ref().filter(|_| families.v4);
        let v6 = self.v6.as_ref().filter(|_| families.v6);
        // Whoever comes second gets what buffers the first left: they take turns.
        let v6_first = families == Families::BOTH && self.v6_first.fetch_xor(true, Ordering::Relaxed);
        let order = if v6_first { [v6, v4] } else { [v4, v6] };
        for socket in order.into_iter().flatten() {
            self.receive_from(socket.as_fd(), batch)?;
        }
        Ok(())
    }

    /// A transmit of more segments or bytes than the kernel takes in one message is sent as several. If a later one of
    /// them fails, the transmit counts as not sent; sending it again repeats the earlier ones, which receivers refuse
    /// as replays.
    ///
    /// # Errors
    /// `WouldBlock` after 20 ms of a full buffer. EINVAL, EADDRNOTAVAIL, ENODEV, ENETUNREACH, EHOSTUNREACH may come
    /// from the source address. EINVAL, EMSGSIZE and EIO may come from segmentation of this transmit: the first two
    /// (which, depends on the kernel) if a segment with its headers is longer than the MTU of the way, the last if the
    /// interface cannot compute checksums; its datagrams may still be sent one by one. EMSGSIZE for a single datagram:
    /// it exceeds what UDP carries. EAFNOSUPPORT: there is no socket of that family.
    fn send(&self, transmits: &[Transmit<'_>]) -> (usize, io::Result<()>) {
        let mut sent = 0;
        while let Some(next) = transmits.get(sent) {
            let v6 = is_v6(next);
            let run = transmits[sent..].iter().take_while(|transmit| is_v6(transmit) == v6).count();
            let (count, result) = self.send_run(v6, &transmits[sent..][..run]);
            sent += count;
            if result.is_err() {
                return (sent, result);
            }
        }
        (sent, Ok(()))
    }

    fn set_mark(&self, mark: u32) -> io::Result<()> {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            set_mark(socket, mark)?;
        }
        self.mark.store(mark, Ordering::Relaxed);
        Ok(())
    }

    fn max_segments(&self) -> usize {
        if self.trains == Trains::None { 1 } else { udp_offload::MAX_SEGMENTS }
    }

    /// Asks the routing table: at most four system calls, which need no privilege and which every thread may do.
    fn path_mtu(&self, remote: SocketAddr) -> Option<usize> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mtu = routes.path_mtu(remote, self.mark.load(Ordering::Relaxed)).ok().flatten();
        mtu.map(|mtu| mtu as usize)
    }

    fn receives_trains(&self) -> bool {
        self.receives_trains
    }
}

/// A v4-mapped address is an IPv4 one: the IPv6 socket would refuse it.
fn is_v6(transmit: &Transmit<'_>) -> bool {
    transmit.to.remote.ip().to_canonical().is_ipv6()
}

fn outgoing<'a>(transmit: &Transmit<'_>, bytes: &'a [u8], v6: bool) -> Outgoing<'a> {
    let Endpoint { remote, source } = transmit.to;
    let to = if v6 { remote } else { SocketAddr::new(remote.ip().to_canonical(), remote.port()) };
    let mut control = ControlBuffer::new();
    if let Some(Source { address, interface }) = source {
        let address: IpAddr = address.to_canonical();
        // One of the other family can only be stale.
        if address.is_ipv6() == v6 {
            control.push_source(Source { address, interface });
        }
    }
    if transmit.ds != 0 {
        control.push_ds(transmit.ds, v6);
    }
    if bytes.len() > transmit.segment_len {
        // Two segments at least fit in a message, so that one is shorter than 32 KiB.
        control.push_segment_len(transmit.segment_len as u16);
    }
    Outgoing { to: SocketName::new(to), control, bytes }
}

fn open_v4(mark: u32) -> io::Result<OwnedFd> {
    let socket = open(AddressFamily::INET, mark)?;
    sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    sockopt::set_ip_recvtos(&socket, true)?;
    sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    Ok(socket)
}

fn open_v6(mark: u32) -> io::Result<OwnedFd> {
    let socket = open(AddressFamily::INET6, mark)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT)?;
    sockopt::set_ipv6_recvtclass(&socket, true)?;
    sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    Ok(socket)
}

fn open(family: AddressFamily, mark: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // As large as allowed; a smaller buffer loses packets in bursts, and is no reason not to start.
    let receive_len = receive_buffer_len();
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, receive_len)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, receive_len));
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER_LEN)
        .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_LEN));
    if mark != 0 {
        set_mark(&socket, mark)?;
    }
    Ok(socket)
}

/// Returns how many bytes may wait to be received: what comes in while the packet thread waits for a core behind two or three
/// others, 3 ms each, at the rate that it carries when it has one. More would only be late where that rate is too low.
///
/// With 16 TCP streams and both ends on two cores at 9.6 Gbit/s, 7 MiB overflowed in every other run of ten seconds, 16
/// in none.
fn receive_buffer_len() -> usize {
    const AT_5_GBITS: usize = 7 << 20;
    const AT_10_GBITS: usize = 16 << 20;
    if crate::aead::selected().is_some() { AT_10_GBITS } else { AT_5_GBITS }
}

fn set_mark(socket: &OwnedFd, mark: u32) -> io::Result<()> {
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark.cast_signed())
}

/// IPv6 is not compiled in or disabled at boot (EAFNOSUPPORT), or disabled on all interfaces (EADDRNOTAVAIL).
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Only errors that say the call itself was wrong are reported: reception goes on after any other.
fn is_transient(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL))
}

fn wait_writable(socket: &OwnedFd) {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    // Whatever comes out of it, the next attempt to send tells.
    let _ = rustix::event::poll(&mut fds, Some(&SEND_PATIENCE));
}

const ECN_MASK: u8 = 0b11;
/// Bytes. At 3 Gbit/s what leaves within 20 ms.
const SEND_BUFFER_LEN: usize = 7 << 20;
const RANDOM_PORT_ATTEMPTS: u32 = 100;
/// How long a full send buffer is waited for: 7 MiB leave within this time at 3 Gbit/s; on a slower link a packet that
/// waited longer is late anyway.
const SEND_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

const _: () = assert!(MAX_UDP_BATCH <= sys::MAX_RECEIVE);
