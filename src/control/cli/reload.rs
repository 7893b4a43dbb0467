//! `rvpn reload`: a changed file is applied to its tunnel, and no session is lost.

use super::down::Arguments;
use super::failure::Failure;
use super::up;
use crate::control::quick::{self, World};

pub(super) fn run(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let interface = arguments.interface()?;
    let path = quick::file_of(&interface, world)?;
    let tunnel = up::read_of(interface, path)?;
    let file = tunnel.path.display().to_string();
    let retries = up::retries(&tunnel.config)?;
    Ok(quick::reload(tunnel, world, &mut |config, follows| up::resolve(config, follows, &file, retries))?)
}
