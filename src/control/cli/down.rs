//! `rvpn down`: what `up` made goes.

use std::ffi::OsString;

use super::failure::Failure;
use super::{up, warn};
use crate::control::interface::InterfaceName;
use crate::control::quick::{self, World, file};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name or the file that was given to `up`.
    name: OsString,
}

impl Arguments {
    /// Returns the interface that is meant.
    pub(super) fn interface(&self) -> Result<InterfaceName, Failure> {
        file::interface_of(&self.name).ok_or_else(|| Failure::Word {
            word: format!("`{}`", self.name.display()),
            expected: "expected the name of an interface, or its file, as in wg0 or ./wg0.conf".to_owned(),
        })
    }
}

pub(super) fn run(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let interface = arguments.interface()?;
    // What `up` made is to go, whatever has become of its file; it may be called by its name wherever it lies.
    let path = quick::file_of(&interface, world)?;
    let tunnel = up::read_of(interface.clone(), path);
    if let Err(failure) = &tunnel {
        warn(&format!("{failure}; its commands are those it had at `up`, and it is not saved"));
    }
    Ok(quick::down(&interface, tunnel.ok().as_ref().map(|tunnel| &tunnel.quick), world)?)
}
