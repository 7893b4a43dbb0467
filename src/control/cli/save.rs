//! `rvpn save`: what a tunnel has become is written to its file.

use super::down::Arguments;
use super::failure::Failure;
use super::up;
use crate::control::quick::{self, World};

pub(super) fn run(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let interface = arguments.interface()?;
    let path = quick::file_of(&interface, world)?;
    Ok(quick::save(&up::read_of(interface, path)?, world)?)
}
