//! What the data plane needs of the world: the traits that a platform implements.
//!
//! Every call works on a batch and none blocks, except [`Poller::wait`]. All methods take `&self` and may be called
//! from several threads at once: whichever thread drains a peer's queue sends for it.
//!
//! Not here: implementations (`platform/linux`, `platform/fake`).

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;

use super::gro::Classes;
use super::offload::Offload;
use super::packet::{TunBatch, UdpBatch};
use crate::proto::endpoint::{Endpoint, Source};
use crate::proto::time::{Instant, WallTime};

/// The interface on which the host's packets enter and leave.
pub trait Tun: Send + Sync {
    /// Appends waiting packets until `batch` is full or nothing waits, or fewer, for the poller to tell of the others. An
    /// empty result is no error.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` if the interface is gone; anything else is transient.
    fn read(&self, batch: &mut TunBatch) -> io::Result<()>;

    /// Writes one packet that is the concatenation of `parts`.
    ///
    /// # Errors
    /// The OS's. A refused merged packet (EINVAL, EIO) has not been delivered: split it and write the parts.
    fn write(&self, offload: Offload, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Returns the merges the interface took when it was opened.
    fn classes(&self) -> Classes;
}

/// One datagram to send, or a train of equal ones (the last may be shorter) to one destination.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where to, and from which local address if one is cached.
    pub to: Endpoint,
    /// The DS byte: DSCP and ECN.
    pub ds: u8,
    /// UDP payloads back to back.
    pub bytes: &'a [u8],
    /// Bytes of each payload; `bytes.len()` for a single datagram.
    pub segment_len: usize,
}

impl Transmit<'_> {
    /// Returns how many datagrams it is.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment_len.max(1)).max(1)
    }
}

/// The UDP sockets of a device, IPv4 and IPv6 on one port. Closed on drop.
pub trait Udp: Send + Sync {
    /// Returns the local port.
    fn port(&self) -> u16;

    /// Receives datagrams that wait at the sockets of `families` into the free buffers of `batch`: all, or some, for the
    /// poller to tell of the others. An empty result is no error; transient socket errors (an ICMP error that came in) are swallowed.
    fn receive(&self, families: Families, batch: &mut UdpBatch) -> io::Result<()>;

    /// Sends `transmits` in order; returns how many the socket took. If fewer than all, the error is about the next
    /// one. A full socket buffer is waited for, up to a bound, before it is an error.
    fn send(&self, transmits: &[Transmit<'_>]) -> (usize, io::Result<()>);

    /// Sets the firewall mark of both sockets; 0 is none.
    fn set_mark(&self, mark: u32) -> io::Result<()>;

    /// Returns the most datagrams of one [`Transmit`]: 1 if trains are not supported.
    fn max_segments(&self) -> usize;

    /// Returns how long an IP packet to `remote` may be without being fragmented, in bytes and as far as it is known
    /// now; `None` if nothing is.
    fn path_mtu(&self, _remote: SocketAddr) -> Option<usize> {
        None
    }

    /// Tells whether datagrams may come in as trains.
    fn receives_trains(&self) -> bool;
}

/// Makes UDP sockets and knows routes, in the network namespace the program was started in.
pub trait Network: Send + Sync {
    /// Binds both families to `port` (0: the OS chooses) with `mark`. Without IPv6 on the host: IPv4 alone.
    ///
    /// # Errors
    /// `AddrInUse` if either family's port is taken; `PermissionDenied` for the mark or the port.
    fn bind(&self, port: u16, mark: u32) -> io::Result<Arc<dyn Udp>>;

    /// Returns the local address and the interface by which packets to `remote` leave now, looked up without a source
    /// address.
    fn source_towards(&self, remote: SocketAddr, mark: u32) -> Option<Source>;
}

/// What woke a packet thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The TUN has packets, or is gone.
    pub tun: bool,
    /// The UDP sockets that have datagrams. To ask the other one in vain, on each wake-up of an idle tunnel, takes as
    /// long as to ask the one that has.
    pub udp: Families,
}

/// Some of the two UDP sockets of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// The one for IPv4.
    pub v4: bool,
    /// The one for IPv6.
    pub v6: bool,
}

impl Families {
    /// Either socket.
    pub const BOTH: Self = Self { v4: true, v6: true };
    /// No socket.
    pub const NONE: Self = Self { v4: false, v6: false };

    /// Tells whether there is one.
    pub fn any(self) -> bool {
        self.v4 || self.v6
    }
}

/// What a packet thread sleeps on: the TUN, the UDP sockets that are bound at the time, and [`Poller::wake`].
pub trait Poller: Send + Sync {
    /// Waits until something is ready or a wake came. Level-triggered: what was not read is ready again.
    fn wait(&self) -> io::Result<Ready>;

    /// Makes the current or the next `wait` return.
    fn wake(&self);
}

/// The clocks. Read once per batch, never per packet.
pub trait Clock: Send + Sync {
    /// Returns the time since boot, suspend included.
    fn now(&self) -> Instant;

    /// Returns the calendar time.
    fn wall(&self) -> WallTime;

    /// Returns the clock of the CPU time of the calling thread; `None` where threads have none. Asked for once by each.
    fn this_thread(&self) -> Option<ThreadClock> {
        None
    }

    /// Returns the CPU time that a thread of this process has used.
    fn cpu_time(&self, _thread: ThreadClock) -> Duration {
        Duration::ZERO
    }

    /// Returns how often the core was taken from the calling thread, for another one that waited for it.
    fn preemptions(&self) -> u64 {
        0
    }

    /// Lets the calling thread sleep for `time`, or a little longer, whatever happens meanwhile.
    fn rest(&self, time: Duration);
}

/// The clock of a thread's CPU time, by the number that the OS knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadClock(pub i32);

/// What the deadline thread sleeps on.
pub trait Alarm: Send + Sync {
    /// Waits until the boot-time clock reaches `deadline` (`None`: for ever) or a wake came. Suspend counts: after a
    /// night's sleep a deadline of yesterday is over at once.
    fn wait_until(&self, deadline: Option<Instant>);

    /// Makes the current or the next `wait_until` return.
    fn wake(&self);
}

/// The world of one device.
#[derive(Clone)]
pub struct Platform {
    /// The interface.
    pub tun: Arc<dyn Tun>,
    /// The maker of sockets.
    pub network: Arc<dyn Network>,
    /// What the packet thread sleeps on.
    pub poller: Arc<dyn Poller>,
    /// What the deadline thread sleeps on.
    pub alarm: Arc<dyn Alarm>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Makes a random generator, seeded by the OS (or by a test). Asked for once per thread for jitter, and once per
    /// handshake for keys, so that no generator state outlives a snapshot of the machine by more than one handshake.
    pub rng: Arc<dyn Fn() -> StdRng + Send + Sync>,
}
