//! What the daemon needs of the operating system and of the data plane.
//!
//! A seam for tests: the process contract is tested with a device that moves no packets. `linux` is the real one. Not
//! here: how a TUN is opened (`platform`), how packets move (`dataplane`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rvpn_uapi::{Errno, Set};

use super::error::Error;
use super::interface::InterfaceName;
use super::metrics::Metrics;
use super::names::Names;
use super::outcome::Ends;
use super::server::Configurable;
use super::upgrade::UpgradeError;
use crate::dataplane::events::Events;
use crate::dataplane::evidence::EvidenceSnapshot;
use crate::dataplane::handover::ResumeError;
use crate::dataplane::key_log::{KeyListener, Tell};
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

    /// Prepares a device that goes on where another process stops: on its TUN, and with its UDP sockets for IPv4 and IPv6,
    /// as far as there are any. As with [`Host::start`], the process can do little more from then on.
    ///
    /// # Errors
    /// As [`Host::start`].
    fn take(
        &self,
        interface: &InterfaceName,
        tun: OwnedFd,
        sockets: [Option<OwnedFd>; 2],
        ends: &Ends,
    ) -> Result<Box<dyn Taken>, Error>;
}

/// A device that has still to be told all: its configuration, then the record of the device, those of the peers.
pub trait Taken {
    /// Configures it; it is down.
    ///
    /// # Errors
    /// As [`Configurable::apply`].
    fn configure(&mut self, set: Set) -> Result<(), Errno>;

    /// Takes the record of the device.
    ///
    /// # Errors
    /// [`ResumeError`]; the device is of no use then.
    fn begin(&mut self, record: &[u8]) -> Result<(), ResumeError>;

    /// Takes the record of a peer.
    ///
    /// # Errors
    /// [`ResumeError`]; the device is of no use then.
    fn peer(&mut self, record: &[u8]) -> Result<(), ResumeError>;

    /// Makes sure that nothing is missing.
    ///
    /// # Errors
    /// [`ResumeError`] if something is.
    fn finish(&mut self) -> Result<(), ResumeError>;

    /// Goes on. Returns the running device, and for how long nothing moved.
    ///
    /// # Errors
    /// The OS's, if it has no room for a thread.
    fn go_on(self: Box<Self>) -> io::Result<(Arc<dyn Device>, Duration)>;
}

/// A device of which nothing moves. Dropped, it goes on.
pub trait Holding {
    /// Returns how often its configuration was changed.
    fn changes(&self) -> u64;

    /// Hands `send` the records for [`Taken`], the device's first.
    ///
    /// # Errors
    /// Those of `send`.
    fn export(&self, send: &mut dyn FnMut(&[u8]) -> Result<(), UpgradeError>) -> Result<(), UpgradeError>;

    /// Lets go of sockets and sessions for good: another process has them.
    fn retire(self: Box<Self>);

    /// Goes on although another process may have begun to.
    fn release_far_ahead(self: Box<Self>);
}

/// A running device.
pub trait Device: Configurable {
    /// Returns what the device saw go wrong.
    fn evidence(&self) -> EvidenceSnapshot {
        EvidenceSnapshot::default()
    }

    /// Counts what the device holds.
    fn objects(&self) -> Objects;

    /// Takes the numbers of the device and of this process; never waits for a change of the configuration.
    fn metrics(&self) -> Metrics;

    /// Returns where what happens is told.
    fn events(&self) -> &Arc<Events>;

    /// Gives up the privileges of the calling thread, and so of those it starts from now on. To be called when the thread
    /// that will call [`Configurable::apply`], which needs them, has been started.
    ///
    /// # Errors
    /// The OS's.
    fn release_privileges(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns what looks up the names of its peers, once; `None` if that is not to be had.
    fn names(&self) -> Option<Names> {
        None
    }

    /// Returns the names of the threads that have not come round since the last call, and asks all to do so. Never
    /// blocks.
    fn beat(&self) -> Vec<String>;

    /// Returns what another process needs to take over: the TUN and the UDP sockets in use, by the names that
    /// `upgrade::offer` has for them.
    ///
    /// # Errors
    /// The OS's; `Unsupported` if it cannot be given away.
    fn files(&self) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns how often its configuration was changed.
    fn changes(&self) -> u64 {
        0
    }

    /// Has all threads stand, with nothing in flight; `None` if that takes longer than `patience`.
    fn hold(&self, patience: Duration) -> Option<Box<dyn Holding + '_>> {
        let _ = patience;
        None
    }

    /// Has `tell` told the keys of each handshake that begins from now on, until what is returned is dropped; `None` if
    /// there are none to be told. It must not block.
    fn log_keys(&self, tell: Tell) -> Option<KeyListener> {
        drop(tell);
        None
    }

    /// Stops all threads, closes TUN and sockets, and wipes keys. Returns when that is done.
    fn stop(&self);
}
