//! `rvpn syncconf`: a file becomes the configuration, and peers that are in both keep their sessions.

use super::failure::Failure;
use super::setconf::{Arguments, read_whole};
use crate::control::client::Client;
use crate::control::config::synchronize;

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let mut set = read_whole(arguments)?;
    if !set.peers.is_empty() {
        let status = client.status(&arguments.interface)?;
        synchronize(&mut set, &status);
    }
    Ok(client.apply(&arguments.interface, &set)?)
}
