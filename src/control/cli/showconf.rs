//! `rvpn showconf`: the state of an interface as a file for `setconf`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};

use super::failure::Failure;
use crate::control::client::Client;
use crate::control::config::text;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to show.
    interface: OsString,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let status = client.status(&arguments.interface)?;
    let mut out = BufWriter::new(io::stdout().lock());
    text::write(&status, &mut out)?;
    Ok(out.flush()?)
}
