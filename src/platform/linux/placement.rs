//! Where the UDP sockets of a device are: at which local address, on which interface, in which network namespace.
//!
//! Without a word they are at any address, on any interface, in the namespace the program was started in.
//!
//! Not here: the sockets themselves (see `udp`), the source address of an answer (see `proto::peer`).
//!
//! Source: socket(7) for SO_BINDTODEVICE, of which SO_BINDTOIFINDEX is the same by number; setns(2), ip-netns(8).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::netdevice;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sys;

/// Where sockets are bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The local address for IPv4. If only the other family has one, there is no socket for IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The local address for IPv6. If only the other family has one, there is no socket for IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The interface by which packets leave and come in, whatever the routes say.
    pub device: Option<String>,
}

impl Placement {
    /// Tells whether there is a socket for IPv4, and one for IPv6.
    pub(super) const fn families(&self) -> (bool, bool) {
        match (self.v4, self.v6) {
            (None, None) => (true, true),
            (v4, v6) => (v4.is_some(), v6.is_some()),
        }
    }

    /// Binds `socket` to the interface, and to `address` and `port`; a port of zero becomes the one that the OS chooses.
    ///
    /// # Errors
    /// The OS's, with what it was about.
    pub(super) fn bind(&self, socket: OwnedFd, address: IpAddr, port: &mut u16) -> io::Result<OwnedFd> {
        if let Some(device) = &self.device {
            bind_to_device(&socket, device)
                .map_err(|error| about(&error, &format!("cannot send by the interface {device}")))?;
        }
        match rustix::net::bind(&socket, &SocketAddr::from((address, *port))).map_err(io::Error::from) {
            Err(error) if !address.is_unspecified() && error.kind() == ErrorKind::AddrNotAvailable => {
                return Err(about(&error, &format!("{address} is no address of this host or network namespace")));
            }
            result => result?,
        }
        *port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?.port();
        Ok(socket)
    }
}

/// Since Linux 5.7 no privilege is needed; before, CAP_NET_RAW, which the daemon does not keep.
fn bind_to_device(socket: &OwnedFd, device: &str) -> io::Result<()> {
    let index = netdevice::name_to_index(socket, device)
        .map_err(|_| io::Error::new(ErrorKind::NotFound, "there is no such interface"))?;
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, index.cast_signed())
}

fn about(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Moves the calling thread, and so those it starts from now on, into another network namespace: that of a process, or one
/// that `ip netns` gave a name. A name of digits alone is a process.
///
/// # Errors
/// The OS's, with the file it was about; EPERM without CAP_SYS_ADMIN.
pub fn enter_namespace(name: &str) -> io::Result<()> {
    let path = namespace_file(name);
    let file = File::open(&path).map_err(|error| about(&error, &path.display().to_string()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| about(&error.into(), &path.display().to_string()))
}

fn namespace_file(name: &str) -> PathBuf {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        PathBuf::from(format!("/proc/{name}/ns/net"))
    } else {
        PathBuf::from(format!("/run/netns/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType};

    use super::*;

    fn socket() -> OwnedFd {
        rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap()
    }

    #[test]
    fn an_address_of_one_family_leaves_out_the_other() {
        let v4 = Some(Ipv4Addr::LOCALHOST);
        assert_eq!(Placement::default().families(), (true, true));
        assert_eq!(Placement { v4, ..Placement::default() }.families(), (true, false));
        assert_eq!(Placement { v4, v6: Some(Ipv6Addr::LOCALHOST), device: None }.families(), (true, true));
    }

    #[test]
    fn a_port_is_chosen_once_and_then_kept() {
        let mut port = 0;
        let held = Placement::default().bind(socket(), Ipv4Addr::LOCALHOST.into(), &mut port).unwrap();
        assert_ne!(port, 0);
        let taken = Placement::default().bind(socket(), Ipv4Addr::LOCALHOST.into(), &mut port);
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(held);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Placement::default().bind(socket(), Ipv4Addr::new(192, 0, 2, 77).into(), &mut 0).unwrap_err();
        assert!(error.to_string().starts_with("192.0.2.77 is no address of this host"), "{error}");
        let nowhere = Placement { device: Some("no-such-device".to_owned()), ..Placement::default() };
        let error = nowhere.bind(socket(), Ipv4Addr::UNSPECIFIED.into(), &mut 0).unwrap_err();
        assert_eq!(error.to_string(), "cannot send by the interface no-such-device: there is no such interface");
        let error = enter_namespace("no-such-namespace").unwrap_err();
        assert!(error.to_string().starts_with("/run/netns/no-such-namespace: "), "{error}");
    }

    #[test]
    fn a_namespace_is_a_name_or_a_process() {
        assert_eq!(namespace_file("uplink"), PathBuf::from("/run/netns/uplink"));
        assert_eq!(namespace_file("42"), PathBuf::from("/proc/42/ns/net"));
    }
}
