//! `rvpn genkey`: a new private key.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

use super::failure::Failure;
use super::{secret_file, warn};
use crate::control::key_text;
use crate::proto::keys::PrivateKey;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write the key to FILE, which must not be there: it is made with mode 0600.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    out: Option<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // getrandom(2) blocks until the kernel is seeded and then never fails.
    let key = PrivateKey::generate(&mut UnwrapErr(SysRng));
    write_key(key.as_bytes(), arguments)
}

/// Writes a new key to where it was asked for.
pub(super) fn write_key(key: &[u8; 32], arguments: &Arguments) -> Result<(), Failure> {
    let text = key_text::encode(key);
    match &arguments.out {
        Some(file) => secret_file::create(file, &text),
        None => {
            let output = io::stdout().as_fd().try_clone_to_owned();
            if let Some(mode) = output.ok().and_then(|output| secret_file::public_mode(&output.into())) {
                warn(&format!("standard output is a file that others can read (mode {mode:04o}); see `--out`"));
            }
            writeln!(io::stdout(), "{}", *text).map_err(Failure::Output)
        }
    }
}
