//! `rvpn strip`: a file without what only wg-quick reads, for `setconf` and its like.

use std::ffi::OsString;
use std::io::{self, Write};

use zeroize::Zeroizing;

use super::failure::Failure;
use super::secret_file;
use crate::control::quick::file;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of a file in /etc/wireguard, without `.conf`; or any file, with a `/`.
    name: OsString,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (path, _) = file::find(&arguments.name)?;
    let read = secret_file::read(path.as_os_str())?;
    read.warn_if_public();
    let stripped = Zeroizing::new(file::strip(&read.text));
    let mut out = io::stdout().lock();
    out.write_all(&stripped)?;
    Ok(out.flush()?)
}
