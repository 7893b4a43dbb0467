//! `rvpn setconf` and `rvpn addconf`: a file becomes the configuration, or is added to it.

use std::ffi::OsString;
use std::time::Duration;

use rustix::event::{Timespec, poll};
use rvpn_uapi::Set;

use super::failure::Failure;
use super::{secret_file, warn};
use crate::control::client::Client;
use crate::control::config::{Config, ConfigError, Fault, whole};
use crate::control::endpoint::{Endpoint, Retries};
use crate::platform::linux::resolver::ResolveError;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to configure.
    pub(super) interface: OsString,
    /// The file with the configuration: see rvpn.conf(5).
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(super) file: OsString,
}

/// The file becomes the configuration: what it does not name goes.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let set = read_whole(arguments)?;
    Ok(client.apply(&arguments.interface, &set)?)
}

/// The file is added: what it does not name stays.
pub(super) fn run_add(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let set = read(arguments)?;
    Ok(client.apply(&arguments.interface, &set)?)
}

/// Reads a file as the whole configuration: keys that are missing are none, and so are other peers.
pub(super) fn read_whole(arguments: &Arguments) -> Result<Set, Failure> {
    read(arguments).map(whole)
}

/// Reads a file. All of its faults are found before any name is looked up.
fn read(arguments: &Arguments) -> Result<Set, Failure> {
    let read = secret_file::read(&arguments.file)?;
    let file = arguments.file.display().to_string();
    let failed = |faults: Vec<Fault>| Failure::Config(ConfigError { file: file.clone(), faults });
    let config = Config::parse(&read.text).map_err(failed)?;
    if config.private_key.is_some() || config.peers.iter().any(|peer| peer.set.preshared_key.is_some()) {
        read.warn_if_public();
    }
    for warning in &config.warnings {
        warn(&format!("{file}:{warning}"));
    }
    let retries = match config.peers.iter().any(|peer| peer.endpoint.is_some()) {
        true => retries()?,
        false => Retries(Some(0)),
    };
    config.resolve(retries, wait).map_err(failed)
}

/// Reads how often to ask again for the address of an endpoint.
pub(super) fn retries() -> Result<Retries, Failure> {
    let value = std::env::var_os(Retries::VARIABLE);
    Retries::parse(value.as_deref()).ok_or_else(|| Failure::Word {
        word: format!("{}={}", Retries::VARIABLE, value.unwrap_or_default().display()),
        expected: "expected a number of retries, or `infinity`".to_owned(),
    })
}

/// Says that there is no address yet, and waits.
pub(super) fn wait(endpoint: &Endpoint, error: &ResolveError, pause: Duration) {
    warn(&format!("`{endpoint}`: {error}; trying again in {:.2} seconds", pause.as_secs_f64()));
    // On no file: a name server that does not answer tells nobody when it will. A signal only makes it shorter.
    let timeout = Timespec { tv_sec: pause.as_secs() as _, tv_nsec: pause.subsec_nanos().into() };
    let _ = poll(&mut [], Some(&timeout));
}
