//! `rvpn save`: what a tunnel has become is written to its file.

use super::down::Arguments;
use super::failure::Failure;
use super::up;
use crate::control::quick::{self, World};

pub(super) fn run(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let path = quick::file_of(&arguments.interface()?, world)?;
    Ok(quick::save(&up::read(path.as_os_str())?, world)?)
}
