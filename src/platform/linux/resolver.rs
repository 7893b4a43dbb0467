//! Names of hosts and services, as the resolver of the system knows them: /etc/hosts, DNS, and all it is set up for.
//!
//! Not here: trying again (see `control::endpoint`).
//!
//! Source: getaddrinfo(3); which of its errors last is what the glibc wiki says of NameResolver.

use std::ffi::CString;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::sys;

/// Finds the address of `host` (a name, or an address with or without a zone) and the UDP port of `service` (a number
/// or a name of /etc/services). Blocks for as long as the resolver takes.
///
/// # Errors
/// [`ResolveError`], whose `is_lasting` says whether to ask again makes sense.
pub fn resolve(host: &str, service: &str) -> Result<SocketAddr, ResolveError> {
    look_up(Some(host), service).map(|addresses| addresses[0])
}

/// As [`resolve`], all the addresses there are.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_all(host: &str, service: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    look_up(Some(host), service)
}

/// Finds the UDP port of `service`.
///
/// # Errors
/// [`ResolveError`] if there is no such service.
pub fn port(service: &str) -> Result<u16, ResolveError> {
    look_up(None, service).map(|addresses| addresses[0].port())
}

/// Makes a socket for questions to one name server, with a firewall mark if that is not 0. Non-blocking.
///
/// # Errors
/// The OS's: a mark needs CAP_NET_ADMIN.
pub fn socket_to(server: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if mark != 0 {
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark.cast_signed())?;
    }
    // Then only that server is heard, and a closed port is an error at once.
    rustix::net::connect(&socket, &server)?;
    Ok(socket.into())
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ResolveError {
    /// Whether it will be the same the next time.
    pub is_lasting: bool,
    /// What is wrong, in words.
    pub reason: String,
}

/// Returns one address at least.
fn look_up(host: Option<&str>, service: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let lasting = |reason: &str| ResolveError { is_lasting: true, reason: reason.to_owned() };
    let terminated = |text: &str| CString::new(text).map_err(|_| lasting("a zero byte is part of no name"));
    let host = host.map(terminated).transpose()?;
    let service = terminated(service)?;
    match sys::resolve(host.as_deref(), &service) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(lasting("it has neither an IPv4 nor an IPv6 address")),
        Err((code, error)) => Err(match code {
            libc::EAI_NONAME => lasting("there is no such host"),
            libc::EAI_NODATA => lasting("the host has no address"),
            libc::EAI_FAIL => lasting("the name server refuses to answer"),
            libc::EAI_SERVICE => lasting("there is no such service"),
            libc::EAI_AGAIN => passing("no name server answers"),
            libc::EAI_MEMORY => passing("out of memory"),
            libc::EAI_SYSTEM => passing(&error.to_string()),
            code => passing(&format!("getaddrinfo error {code}")),
        }),
    }
}

fn passing(reason: &str) -> ResolveError {
    ResolveError { is_lasting: false, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ports_and_names_are_services() {
        assert_eq!(port("51820").ok(), Some(51820));
        assert!(port("no-such-service").is_err());
        assert!(port("1\0").is_err_and(|error| error.is_lasting));
    }

    #[test]
    fn what_is_neither_name_nor_address_is_refused_for_good() {
        assert!(resolve("300.1.1.1.", "1").is_err());
        assert!(resolve("", "1").is_err_and(|error| error.is_lasting));
        assert_eq!(resolve("192.0.2.1", "7").ok(), "192.0.2.1:7".parse().ok());
    }
}
