//! The system calls that have no safe wrapper elsewhere, each behind the smallest safe signature.
//!
//! The only file with `unsafe` but the dispatch of [`crate::aead`]. What goes into and comes out of a call is plain bytes and
//! numbers; their meaning is decided elsewhere ([`super::cmsg`], [`super::socket_name`], [`super::vnet_header`]), in
//! code that can be tested with hostile input without a kernel.
//!
//! Not here: anything `rustix` offers (sockets, most options, poll, epoll, eventfd, readv, writev, setns).
//!
//! Sources: Linux `if_tun.h`, tun.c; man pages recvmmsg(2), sendmmsg(2), clock_gettime(2), fcntl(2), seccomp(2),
//! getaddrinfo(3).

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cmsg::ControlBuffer;
use super::socket_name::SocketName;

/// Returns the seconds and nanoseconds of CLOCK_BOOTTIME.
pub(super) fn boot_time() -> (u64, u32) {
    clock_gettime(libc::CLOCK_BOOTTIME)
}

/// Returns the seconds and nanoseconds of CLOCK_REALTIME; the epoch if the clock is before it.
pub(super) fn real_time() -> (u64, u32) {
    clock_gettime(libc::CLOCK_REALTIME)
}

/// Returns the seconds and nanoseconds of `clock`; zero if there is no such clock.
pub(super) fn clock_gettime(clock: libc::clockid_t) -> (u64, u32) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, exclusive timespec. The call fails only for unknown clocks, and then leaves `time`
    // as it is: initialised.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns how often the kernel took the core from the calling thread for another one.
pub(super) fn preemptions_of_this_thread() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to an exclusive rusage. The call fails only for an unknown `who`, and then leaves it as it is.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: an rusage consists of integers, and it was made of zeros.
    let usage = unsafe { usage.assume_init() };
    u64::try_from(usage.ru_nivcsw).unwrap_or(0)
}

/// Returns how many of the file descriptors below `limit` are open, without asking `/proc`.
pub(super) fn count_open_files(limit: RawFd) -> io::Result<usize> {
    let mut files: Vec<_> = (0..limit).map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    // SAFETY: the pointer and the length describe `files`, which is exclusive. A number that is not open is answered by
    // POLLNVAL; nothing is done to one that is.
    check(unsafe { libc::poll(files.as_mut_ptr(), files.len() as libc::nfds_t, 0) })?;
    Ok(files.iter().filter(|file| file.revents & libc::POLLNVAL == 0).count())
}

/// The name and flags of a TUN interface as TUNSETIFF takes and TUNGETIFF gives them.
///
/// # Layout
/// `struct ifreq`: 16 bytes of NUL-terminated name, 2 bytes of flags, the rest of a 24-byte union. 40 bytes in all on
/// 64-bit; 32 on 32-bit, which the kernel never exceeds.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct InterfaceRequest {
    pub(super) name: [u8; libc::IFNAMSIZ],
    pub(super) flags: u16,
    rest: [u8; 22],
}

impl InterfaceRequest {
    /// Makes a request. The name must be shorter than IFNAMSIZ, which the caller has checked; a longer one is cut.
    pub(super) fn new(name: &str, flags: u16) -> Self {
        let mut request = Self { name: [0; libc::IFNAMSIZ], flags, rest: [0; 22] };
        let len = name.len().min(libc::IFNAMSIZ - 1);
        request.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        request
    }

    /// Returns the name up to its NUL.
    pub(super) fn name(&self) -> String {
        let len = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(&self.name[..len]).into_owned()
    }
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40 && size_of::<libc::ifreq>() <= 40);

/// TUNSETIFF: attaches `fd` to the interface of that name, making it if there is none. The name comes back with `%d`
/// replaced.
pub(super) fn tun_attach(fd: BorrowedFd<'_>, request: &mut InterfaceRequest) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`; `request` is exclusive and at least as large (asserted
    // above). Its bytes are plain numbers: any the kernel writes are valid.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut *request) }).map(drop)
}

/// TUNGETIFF: returns the name and flags of the interface `fd` is attached to, in whatever namespace it is.
///
/// # Errors
/// EBADFD if it is attached to none, or the interface was deleted.
pub(super) fn tun_attached(fd: BorrowedFd<'_>) -> io::Result<InterfaceRequest> {
    let mut request = InterfaceRequest::new("", 0);
    // SAFETY: TUNGETIFF writes one `struct ifreq`; `request` is exclusive and at least as large (asserted above).
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &raw mut request) })?;
    Ok(request)
}

/// TUNSETOFFLOAD: allows the kernel to hand over packets that need `TUN_F_*` work.
pub(super) fn tun_set_offload(fd: BorrowedFd<'_>, features: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value; no memory is involved.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(features)) }).map(drop)
}

/// TUNSETVNETHDRSZ: sets the bytes of the header before each packet.
pub(super) fn tun_set_vnet_header_len(fd: BorrowedFd<'_>, len: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int through the pointer, which is valid for the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &raw const len) }).map(drop)
}

/// TUNGETDEVNETNS: returns the network namespace in which the interface is now, close-on-exec.
///
/// # Errors
/// EBADFD if the interface was deleted, EPERM without CAP_NET_ADMIN over that namespace, EINVAL or ENOTTY before
/// Linux 5.2.
pub(super) fn tun_network_namespace(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument.
    let namespace = check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETDEVNETNS as _) })?;
    // SAFETY: on success the result is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
}

/// SIOCGSKNS: returns the network namespace of a socket, close-on-exec.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over that namespace.
pub(super) fn socket_network_namespace(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: SIOCGSKNS takes no argument.
    let namespace = check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: on success the result is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
}

/// Of `linux/sockios.h`, which the library does not have.
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// Sets an integer socket option.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call and is only read.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Duplicates the file descriptor with the number `number`, as one inherited from a parent is known; the duplicate is
/// close-on-exec, and so is `number` from now on.
///
/// # Errors
/// EBADF if no such descriptor is open.
pub(super) fn adopt_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer; an unknown number is answered by EBADF.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: on success the result is a new file descriptor that nobody else owns.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // SAFETY: F_SETFD takes an integer and changes nothing that another owner of `number` could rely on for memory
    // safety: the descriptor stays open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(copy)
}

/// Makes every open file descriptor from `first` on close-on-exec.
///
/// # Errors
/// ENOSYS before Linux 5.11.
pub(super) fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: with this flag nothing is closed and no memory is touched; only a flag of each descriptor changes.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What [`receive_messages`] learns of one message beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// The sender.
    pub(super) from: SocketName,
    /// Control messages.
    pub(super) control: ControlBuffer,
    /// Bytes received.
    pub(super) len: usize,
    /// The bytes or the control messages did not fit.
    pub(super) truncated: bool,
}

/// recvmmsg: fills one buffer per waiting message, at most [`MAX_RECEIVE`] and as many as both iterators give, and
/// returns how many. Never blocks.
///
/// # Errors
/// The OS's; `WouldBlock` if nothing waits.
pub(super) fn receive_messages<'a>(
    socket: BorrowedFd<'_>,
    buffers: impl Iterator<Item = &'a mut [u8]>,
    received: &mut [Received],
) -> io::Result<usize> {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; MAX_RECEIVE];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MAX_RECEIVE];
    let mut count = 0;
    for ((buffer, message), (vector, header)) in
        buffers.zip(received.iter_mut()).zip(vectors.iter_mut().zip(headers.iter_mut()))
    {
        let vector = vector.write(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
        let control = message.control.room();
        header.write(message_header(
            message.from.room().as_mut_ptr().cast(),
            SocketName::ROOM,
            &raw mut *vector,
            control.as_mut_ptr().cast(),
            control.len(),
        ));
        count += 1;
    }
    // SAFETY: the first `count` headers are initialised. Each points to a vector, a name and control room that live in
    // `vectors` and `received`, and each vector to a distinct buffer borrowed for 'a; none of them moves or is used
    // otherwise before the call ends. All lengths are those of the memory they stand beside. No timeout is given.
    let taken = retry_on_intr(|| unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    })? as usize;
    for (header, message) in headers[..taken].iter().zip(received.iter_mut()) {
        // SAFETY: the kernel takes no more messages than it was given headers, so `taken <= count` of them are
        // initialised.
        let header = unsafe { header.assume_init_ref() };
        message.from.set_len(header.msg_hdr.msg_namelen as usize);
        message.control.set_len(header.msg_hdr.msg_controllen as _);
        message.len = header.msg_len as usize;
        message.truncated = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    }
    Ok(taken)
}

/// One message for [`send_messages`].
pub(super) struct Outgoing<'a> {
    /// Where to.
    pub(super) to: SocketName,
    /// Control messages.
    pub(super) control: ControlBuffer,
    /// The payload.
    pub(super) bytes: &'a [u8],
}

/// sendmmsg: sends the first of `messages`, at most [`MAX_SEND`], and returns how many the socket took; 0 if there were
/// none. Never blocks.
///
/// # Errors
/// The OS's, about the first message; an error about a later one shows as a smaller number.
pub(super) fn send_messages<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = Outgoing<'a>>,
) -> io::Result<usize> {
    // Not zeroed: 15 KiB, of which a single datagram needs a few hundred bytes.
    let mut outgoing = [const { MaybeUninit::<Outgoing<'a>>::uninit() }; MAX_SEND];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; MAX_SEND];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MAX_SEND];
    let mut count = 0;
    let slots = outgoing.iter_mut().zip(vectors.iter_mut().zip(headers.iter_mut()));
    for ((outgoing, (vector, header)), message) in slots.zip(messages) {
        let message = outgoing.write(message);
        let bytes = message.bytes;
        let vector = vector.write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        let name = message.to.bytes();
        let control = message.control.bytes();
        header.write(message_header(
            name.as_ptr().cast_mut().cast(),
            name.len(),
            &raw mut *vector,
            control.as_ptr().cast_mut().cast(),
            control.len(),
        ));
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: the first `count` headers are initialised; each points to a vector in `vectors` and to the name, control
    // messages and payload of a message in `outgoing`, none of which moves before the call ends. sendmmsg writes to
    // the headers (`msg_len`) alone; what they point to it only reads, so that pointers made from shared references
    // suffice.
    let sent = retry_on_intr(|| unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    })?;
    Ok(sent as usize)
}

/// The most messages of one [`receive_messages`].
pub(super) const MAX_RECEIVE: usize = 16;
/// The most messages of one [`send_messages`].
pub(super) const MAX_SEND: usize = 64;

fn message_header(
    name: *mut libc::c_void,
    name_len: usize,
    vector: *mut libc::iovec,
    control: *mut libc::c_void,
    control_len: usize,
) -> libc::mmsghdr {
    // SAFETY: mmsghdr is made of integers and pointers, for which zero is a value; some C libraries have padding
    // members that cannot be named, hence no literal.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = name;
    header.msg_hdr.msg_namelen = name_len as libc::socklen_t;
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = if control_len == 0 { std::ptr::null_mut() } else { control };
    header.msg_hdr.msg_controllen = control_len as _;
    header
}

fn retry_on_intr(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// getaddrinfo: returns the addresses of `node`, for UDP at `service`; without a node, those to listen at.
///
/// What it found that is neither IPv4 nor IPv6 is left out. Blocks for as long as the resolver of the system does.
///
/// # Errors
/// The `EAI_*` value, and for EAI_SYSTEM the OS's error with it.
pub(super) fn resolve(node: Option<&CStr>, service: &CStr) -> Result<Vec<SocketAddr>, (i32, io::Error)> {
    // SAFETY: zeroes are a valid `addrinfo`: numbers, and pointers that may be null.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_DGRAM;
    hints.ai_protocol = libc::IPPROTO_UDP;
    if node.is_none() {
        hints.ai_flags = libc::AI_PASSIVE;
    }
    let mut list: *mut libc::addrinfo = std::ptr::null_mut();
    let node = node.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the strings end with zero bytes and live through the call, `node` may be null because `service` is not,
    // `hints` is initialised, and `list` is where the result goes.
    let result = unsafe { libc::getaddrinfo(node, service.as_ptr(), &raw const hints, &raw mut list) };
    if result != 0 {
        return Err((result, io::Error::last_os_error()));
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: on success `list` is a list that ends with a null pointer; `next` is that or one of its entries, which are
    // valid, and not written by anybody, until they are freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ai_next;
        let len = entry.ai_addrlen as usize;
        if !entry.ai_addr.is_null() && len <= SocketName::ROOM {
            // SAFETY: the entry owns `ai_addrlen` bytes at `ai_addr`, which are initialised and not written meanwhile.
            let bytes = unsafe { std::slice::from_raw_parts(entry.ai_addr.cast::<u8>(), len) };
            let mut name = SocketName::default();
            name.room()[..len].copy_from_slice(bytes);
            name.set_len(len);
            addresses.extend(name.address());
        }
    }
    // SAFETY: `list` came from getaddrinfo, and neither it nor an entry of it is used again.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

/// seccomp: makes `program` a filter of the calling thread, for good, and of those it will start.
///
/// # Errors
/// EINVAL for a program or flags that the kernel does not take, EACCES without no_new_privs, ENOSYS without seccomp.
pub(super) fn install_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let Ok(len) = libc::c_ushort::try_from(program.len()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the `len` instructions that `filter` points to, which are borrowed for the call, and
    // writes to nothing. It checks each of them, so that any bytes are valid. What the filter does later is to make
    // system calls fail, which no code here takes for impossible.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// SO_ATTACH_FILTER: lets `socket` receive only what `program` takes, in place of a filter it may have.
///
/// # Errors
/// EINVAL for a program that the kernel does not take.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let Ok(len) = libc::c_ushort::try_from(program.len()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the pointer and the length describe `program`, which lives through the call; the kernel copies the `len`
    // instructions that `filter` points to, which are borrowed for the call, checks each, and writes to nothing.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    })
    .map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests;
