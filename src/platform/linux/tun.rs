//! The TUN interface: opening it, its offloads, and packets in and out.
//!
//! Measured behaviour of the descriptor (Linux 6.18), on which the code rests:
//!
//! | interface | read | write of a packet | empty write | poll |
//! |---|---|---|---|---|
//! | up | EAGAIN if none | taken | EINVAL | POLLOUT |
//! | down | EAGAIN | EIO | EINVAL (EIO before Linux 5) | nothing |
//! | moved to another namespace | as there | as there | as there | as there |
//! | deleted | EBADFD | EBADFD | EBADFD | POLLERR |
//!
//! Not here: the header's layout (see `vnet_header`), what happens to the link (see `link_monitor`).
//!
//! Source: Linux Documentation/networking/tuntap.rst, tun.c.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::alone::Alone;
use super::netlink::Netlink;
use super::sys::{self, InterfaceRequest};
use super::vnet_header;
use crate::dataplane::gro::Classes;
use crate::dataplane::io::Tun;
use crate::dataplane::offload::Offload;
use crate::dataplane::packet::{HEADROOM, TunBatch};

/// How a TUN is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunOptions {
    /// Take and give merged packets and partial checksums, as far as the kernel does.
    pub offload: bool,
    /// Allow further queues to be attached.
    pub multi_queue: bool,
}

impl Default for TunOptions {
    fn default() -> Self {
        Self { offload: true, multi_queue: false }
    }
}

/// Why there is no TUN, as a sentence: the thing, what is wrong with it, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunError {
    /// The name cannot be an interface's.
    #[error("{0:?} is not an interface name: use 1 to 15 bytes without '/', ':' and spaces")]
    Name(String),
    /// There is no /dev/net/tun.
    #[error("/dev/net/tun: no such device: load the module with `modprobe tun`, or pass the device into the container")]
    Missing,
    /// /dev/net/tun may not be opened, or CAP_NET_ADMIN is missing.
    #[error("/dev/net/tun: permission denied: run as root or give rvpn CAP_NET_ADMIN")]
    Permission,
    /// Another program has the interface.
    #[error("interface {0}: in use by another program: end it or choose another name")]
    Busy(String),
    /// There is an interface of that name, and it is no TUN.
    #[error("interface {0}: exists and is not a TUN interface of this kind: delete it or choose another name")]
    Kind(String),
    /// The descriptor handed over is not what it should be.
    #[error("WG_TUN_FD: not a TUN interface: hand over one that was opened with IFF_TUN and IFF_NO_PI")]
    Descriptor,
    /// Anything else.
    #[error("interface {0}: {1}")]
    Os(String, io::Error),
}

/// An open TUN. The interface exists as long as this does, unless it is persistent.
#[derive(Debug)]
pub struct LinuxTun {
    fd: OwnedFd,
    name: String,
    has_header: bool,
    classes: Classes,
    alone: Alone,
}

/// For handing it over to another process; offloads are asked for again there.
impl From<LinuxTun> for OwnedFd {
    fn from(tun: LinuxTun) -> Self {
        tun.fd
    }
}

impl LinuxTun {
    /// Opens the interface `name`, making it if there is none; `%d` in the name stands for the first free number. A new
    /// one gets an MTU of 1420 and a transmit queue of 1000 packets; one that was there keeps what it has.
    ///
    /// # Errors
    /// See [`TunError`].
    pub fn open(name: &str, options: TunOptions) -> Result<Self, TunError> {
        if !is_interface_name(name) {
            return Err(TunError::Name(name.to_owned()));
        }
        let other = |error| TunError::Os(name.to_owned(), error);
        let mut netlink = Netlink::open(0).map_err(other)?;
        let existed = netlink.link(name, None).is_ok();
        let fd = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| match error {
                Errno::ACCESS | Errno::PERM => TunError::Permission,
                Errno::NOENT | Errno::NODEV | Errno::NXIO => TunError::Missing,
                error => TunError::Os(name.to_owned(), error.into()),
            })?;
        let mut flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if options.multi_queue {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        let mut request = InterfaceRequest::new(name, flags as u16);
        sys::tun_attach(fd.as_fd(), &mut request).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => TunError::Permission,
            Some(libc::EBUSY) => TunError::Busy(name.to_owned()),
            Some(libc::EINVAL) => TunError::Kind(name.to_owned()),
            _ => other(error),
        })?;
        let tun = Self::attached(fd, &request, options).map_err(other)?;
        if !existed {
            let link = netlink.link(&tun.name, None).map_err(other)?;
            netlink.configure_link(link.index, DEFAULT_MTU, DEFAULT_QUEUE_LEN).map_err(other)?;
        }
        Ok(tun)
    }

    /// Takes over an open TUN (WG_TUN_FD), with IFF_NO_PI and with or without IFF_VNET_HDR. It becomes non-blocking and close-on-exec; its
    /// MTU stays. [`TunOptions::multi_queue`] is as it was opened.
    ///
    /// # Errors
    /// [`TunError::Descriptor`] if it is something else.
    pub fn from_fd(fd: OwnedFd, options: TunOptions) -> Result<Self, TunError> {
        let request = sys::tun_attached(fd.as_fd()).map_err(|_| TunError::Descriptor)?;
        // Whether IFF_NO_PI was given cannot be seen: its bit is always set in the answer (Linux 6.18).
        if request.flags & libc::IFF_TUN as u16 == 0 {
            return Err(TunError::Descriptor);
        }
        let other = |error: Errno| TunError::Os(request.name(), error.into());
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(other)?;
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(other)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(other)?;
        Self::attached(fd, &request, options).map_err(|error| TunError::Os(request.name(), error))
    }

    fn attached(fd: OwnedFd, request: &InterfaceRequest, options: TunOptions) -> io::Result<Self> {
        let has_header = request.flags & libc::IFF_VNET_HDR as u16 != 0;
        let mut classes = NO_CLASSES;
        if has_header {
            sys::tun_set_vnet_header_len(fd.as_fd(), vnet_header::LEN as i32)?;
            classes = negotiate(fd.as_fd(), options.offload);
        }
        Ok(Self { fd, name: request.name(), has_header, classes, alone: Alone::default() })
    }

    /// Returns the name the interface had when it was opened. It may have been renamed since.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the largest packet in bytes now.
    ///
    /// # Errors
    /// ENODEV if the interface is not in the calling thread's namespace: see `LinkMonitor` for that.
    pub fn mtu(&self) -> io::Result<u32> {
        let name = self.attached_name().ok_or_else(gone)?;
        Ok(Netlink::open(0)?.link(&name, None)?.mtu)
    }

    /// Returns the name the interface has now, in whatever namespace; `None` if it is gone.
    pub(super) fn attached_name(&self) -> Option<String> {
        sys::tun_attached(self.as_fd()).ok().map(|request| request.name())
    }

    /// Returns the namespace the interface is in, `None` if it is the calling thread's.
    pub(super) fn foreign_namespace(&self) -> io::Result<Option<OwnedFd>> {
        let namespace = sys::tun_network_namespace(self.as_fd())?;
        let theirs = rustix::fs::fstat(&namespace)?;
        let ours = rustix::fs::stat("/proc/thread-self/ns/net")?;
        Ok(((theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)).then_some(namespace))
    }

    /// Tells from the descriptor alone whether the interface is up; `None` if it is gone.
    ///
    /// Writability follows the interface since Linux 5; before, the empty write tells. Neither delivers a packet.
    pub(super) fn probe(&self) -> Option<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
        let polled = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now)));
        let events = fds[0].revents();
        if polled.is_err() || events.contains(PollFlags::ERR) {
            return None;
        }
        match rustix::io::write(&self.fd, &[]) {
            Err(Errno::IO) => Some(false),
            Ok(_) | Err(Errno::INVAL) => Some(events.contains(PollFlags::OUT)),
            Err(_) => None,
        }
    }

    /// Tells whether `error` says that the interface was deleted.
    pub(super) fn is_gone(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EBADFD | libc::ENODEV)) || error.kind() == ErrorKind::NotFound
    }

    /// Appends what waits, or one packet of it.
    fn read_packets(&self, batch: &mut TunBatch, one: bool) -> io::Result<()> {
        let skip = if self.has_header { vnet_header::LEN } else { 0 };
        while let Some(space) = batch.space() {
            let len = match rustix::io::read(&self.fd, &mut *space) {
                Ok(len) => len.saturating_sub(skip),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(tun_error(error)),
            };
            let mut header = [0; vnet_header::LEN];
            header[..skip].copy_from_slice(&space[..skip]);
            // Something that was not negotiated is dropped: it could not be sent on in a form anybody understands.
            if let Some(offload) = vnet_header::decode(header, &space[skip..skip + len]) {
                batch.push_after(skip, len, offload);
            }
            if one {
                break;
            }
        }
        Ok(())
    }

    fn write_with_header<const N: usize>(&self, header: &[u8], parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); N];
        slices[0] = IoSlice::new(header);
        slices[1..=parts.len()].copy_from_slice(parts);
        rustix::io::writev(&self.fd, &slices[..=parts.len()])
    }
}

impl Tun for LinuxTun {
    fn read(&self, batch: &mut TunBatch) -> io::Result<()> {
        let one = self.alone.is_expected();
        let (packets, bytes) = (batch.packets().len(), batch.len());
        let result = self.read_packets(batch, one);
        self.alone.found(batch.packets().len() - packets, batch.len() - bytes);
        result
    }

    /// # Errors
    /// `NetworkDown` if the interface is down, `NotFound` if it is gone, EINVAL if it has no place to say `offload` or
    /// `parts` are more than one call takes (1023).
    fn write(&self, offload: Offload, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header = vnet_header::encode(offload);
        let written = rustix::io::retry_on_intr(|| match parts.len() {
            _ if !self.has_header && offload != Offload::default() => Err(Errno::INVAL),
            _ if !self.has_header => rustix::io::writev(&self.fd, parts),
            0..4 => self.write_with_header::<4>(&header, parts),
            4..64 => self.write_with_header::<64>(&header, parts),
            // 64 datagrams, the most that are merged, and their header; 1,024 places cost 16 KiB of stack to fill.
            64..160 => self.write_with_header::<160>(&header, parts),
            160..1024 => self.write_with_header::<1024>(&header, parts),
            _ => Err(Errno::INVAL),
        });
        written.map(drop).map_err(|error| match error {
            // The kernel says EIO for nothing else, and a merge that failed for this reason is no reason to stop merging.
            Errno::IO => Errno::NETDOWN.into(),
            error => tun_error(error),
        })
    }

    fn classes(&self) -> Classes {
        self.classes
    }
}

impl AsFd for LinuxTun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Asks for the most the kernel has, then for less.
fn negotiate(fd: BorrowedFd<'_>, offload: bool) -> Classes {
    let tso = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let tso_classes = Classes { tcp4: true, tcp6: true, ..NO_CLASSES };
    let uso = tso | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let uso_classes = Classes { udp4: true, udp6: true, ..tso_classes };
    let offers = [(uso, uso_classes), (tso, tso_classes), (libc::TUN_F_CSUM, NO_CLASSES)];
    let taken =
        offers.into_iter().filter(|_| offload).find(|&(features, _)| sys::tun_set_offload(fd, features).is_ok());
    taken.map_or_else(
        || {
            // Without any feature there is nothing to refuse; what a former owner had asked for ends.
            let _ = sys::tun_set_offload(fd, 0);
            NO_CLASSES
        },
        |(_, classes)| classes,
    )
}

fn is_interface_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
    (1..libc::IFNAMSIZ).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

fn tun_error(error: Errno) -> io::Error {
    match error {
        Errno::BADFD | Errno::NODEV => gone(),
        error => error.into(),
    }
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the interface is gone")
}

const NO_CLASSES: Classes = Classes { tcp4: false, tcp6: false, udp4: false, udp6: false };
/// 1500 less 80: outer IPv6 40, UDP 8, transport data 32.
const DEFAULT_MTU: u32 = 1420;
/// Packets. The kernel's own for a TUN, 500, is less than what it gives other interfaces.
const DEFAULT_QUEUE_LEN: u32 = 1000;

const _: () = assert!(vnet_header::LEN <= HEADROOM);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::dataplane::offload::PartialChecksum;

    #[test]
    fn names_the_kernel_would_refuse_are_refused_before() {
        for name in ["wg0", "wg%d", "a-b_c=d.e+f", "123456789012345"] {
            assert!(is_interface_name(name), "{name}");
        }
        for name in ["", ".", "..", "1234567890123456", "a/b", "a b", "a:b", "a\n", "wg\u{e9}"] {
            assert!(!is_interface_name(name), "{name}");
        }
    }

    #[test]
    fn a_descriptor_that_is_no_tun_is_refused() {
        let file = File::open("/dev/null").unwrap();
        let error = LinuxTun::from_fd(file.into(), TunOptions::default()).unwrap_err();
        assert!(matches!(error, TunError::Descriptor));
    }

    /// Opens a TUN as a parent process might; `None` without the permission.
    fn handed_over(flags: i32) -> Option<OwnedFd> {
        let fd = File::options().read(true).write(true).open("/dev/net/tun").ok()?.into();
        let mut request = InterfaceRequest::new("rvpntest%d", flags as u16);
        if sys::tun_attach(OwnedFd::as_fd(&fd), &mut request).is_err() {
            println!("skipped: needs CAP_NET_ADMIN and /dev/net/tun");
            return None;
        }
        Some(fd)
    }

    #[test]
    fn a_descriptor_handed_over_without_the_header_takes_plain_packets_only() {
        let Some(fd) = handed_over(libc::IFF_TUN | libc::IFF_NO_PI) else { return };
        let fd = crate::platform::linux::process::inheritable(fd.as_fd()).unwrap();
        let tun = LinuxTun::from_fd(fd, TunOptions::default()).unwrap();
        assert!(tun.name().starts_with("rvpntest"));
        assert_eq!(tun.classes(), NO_CLASSES);
        assert!(crate::platform::linux::process::is_close_on_exec(tun.as_fd()).unwrap());
        let mut batch = TunBatch::new();
        tun.read(&mut batch).expect("reading does not block");
        let partial = Offload { checksum: Some(PartialChecksum { start: 0, offset: 0 }), ..Offload::default() };
        let packet = [IoSlice::new(&[0x45; 20])];
        assert_eq!(tun.write(partial, &packet).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(tun.write(Offload::default(), &packet).unwrap_err().kind(), ErrorKind::NetworkDown);
    }

    #[test]
    fn a_descriptor_handed_over_with_the_header_is_as_good_as_our_own() {
        let Some(fd) = handed_over(libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) else { return };
        sys::tun_set_vnet_header_len(fd.as_fd(), 12).unwrap();
        let tun = LinuxTun::from_fd(fd, TunOptions::default()).unwrap();
        assert!(tun.classes().tcp4);
        let packet = [IoSlice::new(&[0x45; 20])];
        assert_eq!(tun.write(Offload::default(), &packet).unwrap_err().kind(), ErrorKind::NetworkDown);
    }

    #[test]
    fn a_tap_is_refused() {
        let Some(fd) = handed_over(libc::IFF_TAP | libc::IFF_NO_PI) else { return };
        let error = LinuxTun::from_fd(fd, TunOptions::default()).unwrap_err();
        assert!(matches!(error, TunError::Descriptor));
    }

    #[test]
    fn the_probe_tells_down_from_gone() {
        let Some(fd) = handed_over(libc::IFF_TUN | libc::IFF_NO_PI) else { return };
        let tun = LinuxTun::from_fd(fd, TunOptions::default()).unwrap();
        assert_eq!(tun.probe(), Some(false));
        assert!(tun.foreign_namespace().unwrap().is_none());
        let unattached = File::options().read(true).write(true).open("/dev/net/tun").unwrap().into();
        let gone = LinuxTun { fd: unattached, ..tun };
        assert_eq!(gone.probe(), None);
        assert_eq!(gone.attached_name(), None);
        assert!(LinuxTun::is_gone(&gone.foreign_namespace().unwrap_err()));
    }
}
