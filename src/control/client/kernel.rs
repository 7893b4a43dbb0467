//! The kernel's driver from the side that asks, for interfaces that have no socket.
//!
//! ```text
//! Set -> request::Requests -> message, message, ... -> driver -> answer::read -> DeviceStatus
//! ```
//!
//! Not here: sockets of netlink (see `platform::linux::wireguard_driver`).
//!
//! Source: Linux uapi/linux/wireguard.h.

mod answer;
mod attribute;
mod request;

use std::ffi::OsStr;
use std::fmt;
use std::io;

use rvpn_uapi::{AllowedIpChange, DeviceStatus, PeerSet, Set};

use self::request::{MAX_NAME_LEN, MIN_LEN, Requests, question};
use crate::platform::linux::wireguard_driver::{self, WireguardDriver};

/// A kernel. A seam for tests; [`Linux`] is the real one.
pub(super) trait Kernel: fmt::Debug + Send + Sync {
    /// Returns the names of the interfaces that its driver runs.
    fn interfaces(&self) -> io::Result<Vec<String>>;

    /// Opens the way to the driver.
    fn open(&self) -> io::Result<Box<dyn Driver>>;
}

/// The way to a driver; see [`WireguardDriver`].
pub(super) trait Driver {
    fn status(&mut self, message: &mut [u8], each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>;
    fn change(&mut self, message: &mut [u8]) -> io::Result<()>;
}

/// The kernel this program runs on.
#[derive(Debug)]
pub(super) struct Linux;

impl Kernel for Linux {
    fn interfaces(&self) -> io::Result<Vec<String>> {
        wireguard_driver::interfaces()
    }

    fn open(&self) -> io::Result<Box<dyn Driver>> {
        Ok(Box::new(WireguardDriver::open()?))
    }
}

impl Driver for WireguardDriver {
    fn status(&mut self, message: &mut [u8], each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        Self::status(self, message, each)
    }

    fn change(&mut self, message: &mut [u8]) -> io::Result<()> {
        Self::change(self, message)
    }
}

/// Returns the name of the interface if the driver runs it.
pub(super) fn find<'a>(kernel: &dyn Kernel, interface: &'a OsStr) -> io::Result<Option<&'a str>> {
    let Some(name) = interface.to_str().filter(|name| name.len() <= MAX_NAME_LEN) else { return Ok(None) };
    Ok(kernel.interfaces()?.iter().any(|found| found == name).then_some(name))
}

/// Takes the state of an interface.
pub(super) fn status(kernel: &dyn Kernel, interface: &str) -> io::Result<DeviceStatus> {
    for _ in 0..MAX_ATTEMPTS {
        let mut status = DeviceStatus::default();
        // Opened anew each time: an answer that was interrupted goes on, and no other may begin on its socket.
        let mut driver = kernel.open()?;
        let mut each = |attributes: &[u8]| answer::read(attributes, &mut status);
        match driver.status(&mut question(interface), &mut each) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| status),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is changed faster than it can be read"))
}

/// Changes an interface. If it fails, what stands before the fault has acted.
pub(super) fn apply(kernel: &dyn Kernel, interface: &str, set: &Set) -> io::Result<()> {
    let mut driver = kernel.open()?;
    let mut requests = Requests::new(interface, set, MESSAGE_LEN);
    while let Some(message) = requests.next() {
        driver.change(message).map_err(|error| explain(error, set))?;
    }
    Ok(())
}

/// Says more than "invalid argument" where a driver does not know what it is asked for.
fn explain(error: io::Error, set: &Set) -> io::Error {
    let removes_one = |peer: &PeerSet| peer.allowed_ips.iter().any(|item| matches!(item, AllowedIpChange::Remove(_)));
    if error.kind() == io::ErrorKind::InvalidInput && set.peers.iter().any(removes_one) {
        let text = "drivers before Linux 6.16 cannot remove single allowed IPs; set those that stay";
        return io::Error::new(error.kind(), text);
    }
    error
}

/// 150 peers with two allowed IPs each. An attribute, such as the list of peers, has at most 64 KiB.
const MESSAGE_LEN: usize = 32 * 1024;
const _: () = assert!(MESSAGE_LEN >= MIN_LEN);

/// A device of 100,000 peers is read in a fraction of a second; who changes it as often as this is not going to stop.
const MAX_ATTEMPTS: usize = 100;

#[cfg(test)]
pub(super) mod tests;
