//! What the daemon needs of the operating system and of the data plane.
//!
//! A seam for tests: the process contract is tested with a device that moves no packets. `linux` is the real one. Not
//! here: how a TUN is opened (`platform`), how packets move (`dataplane`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::Error;
use super::interface::InterfaceName;
use super::metrics::Metrics;
use super::outcome::Ends;
use super::server::Configurable;
use crate::dataplane::objects::Objects;

mod linux;

pub use linux::Linux;

/// Makes interfaces and devices.
pub trait Host {
    /// Makes the interface, or attaches to it if it exists and nobody is attached.
    ///
    /// # Errors
    /// [`Error::Tun`].
    fn open_tun(&self, interface: &InterfaceName) -> Result<OwnedFd, Error>;

    /// Starts a device on an open TUN. It reports to `ends` when the interface is gone or one of its threads fails.
    ///
    /// From then on the process can do little more than run it (see `platform::linux::hardening`).
    ///
    /// # Errors
    /// [`Error::Tun`] or [`Error::Start`].
    fn start(&self, interface: &InterfaceName, tun: OwnedFd, ends: &Ends) -> Result<Arc<dyn Device>, Error>;
}

/// A running device.
pub trait Device: Configurable {
    /// Counts what the device holds.
    fn objects(&self) -> Objects;

    /// Takes the numbers of the device and of this process; never waits for a change of the configuration.
    fn metrics(&self) -> Metrics;

    /// Gives up the privileges of the calling thread, and so of those it starts from now on. To be called when the thread
    /// that will call [`Configurable::apply`], which needs them, has been started.
    ///
    /// # Errors
    /// The OS's.
    fn release_privileges(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns the names of the threads that have not come round since the last call, and asks all to do so. Never
    /// blocks.
    fn beat(&self) -> Vec<String>;

    /// Stops all threads, closes TUN and sockets, and wipes keys. Returns when that is done.
    fn stop(&self);
}
