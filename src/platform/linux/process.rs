//! File descriptors that come from a parent process or go to a child.
//!
//! Everything the program opens is close-on-exec; what a child shall have is named here.
//!
//! Source: fcntl(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::FdFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sys;

/// Takes over the open file descriptor with the number `number`, as WG_TUN_FD and WG_UAPI_FD give one, as a
/// close-on-exec duplicate. The original becomes close-on-exec too, and stays open until the process ends.
///
/// # Errors
/// EBADF if no such descriptor is open.
pub fn adopt_inherited(number: RawFd) -> io::Result<OwnedFd> {
    sys::adopt_inherited(number)
}

/// Makes what the program inherited, beyond the three standard files, close-on-exec: whoever started it may have left
/// files open by mistake, and its children shall not hold them too. On kernels before 5.11 nothing happens.
pub fn inherit_no_further() {
    let _ = sys::close_on_exec_from(3);
}

/// Returns a duplicate that a child started from now on inherits under the same number, until it is dropped.
///
/// # Errors
/// The OS's, if there are too many open files.
pub fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, 3)?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}

/// Enters the network namespace of the first of `sockets`, which another process has opened; nothing happens if there is
/// none, or if this thread is there.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN there, or to enter, without CAP_SYS_ADMIN.
pub fn join_network_namespace_of<'a>(mut sockets: impl Iterator<Item = &'a OwnedFd>) -> io::Result<()> {
    let Some(socket) = sockets.next() else { return Ok(()) };
    let namespace = sys::socket_network_namespace(socket.as_fd())?;
    let theirs = rustix::fs::fstat(&namespace)?;
    let ours = rustix::fs::stat("/proc/thread-self/ns/net")?;
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
        return Ok(());
    }
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Tells whether children started from now on do not inherit `fd`.
///
/// # Errors
/// None that can happen with an open descriptor.
pub fn is_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::io::fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_no_longer_inherited_once_adopted() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(is_close_on_exec(file.as_fd()).unwrap());
        let given = inheritable(file.as_fd()).unwrap();
        assert!(!is_close_on_exec(given.as_fd()).unwrap());
        let taken = adopt_inherited(given.as_raw_fd()).unwrap();
        assert!(is_close_on_exec(taken.as_fd()).unwrap());
        assert!(is_close_on_exec(given.as_fd()).unwrap());
    }

    #[test]
    fn a_number_that_is_not_open_is_refused() {
        for number in [-1, 1 << 20] {
            assert_eq!(adopt_inherited(number).unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
    }
}
