//! `rvpn up`: a file becomes a tunnel.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::ArgAction;
use clap::builder::FalseyValueParser;
use rvpn_uapi::Set;

use super::failure::Failure;
use super::{secret_file, setconf, warn};
use crate::control::config::{Config, ConfigError, Fault};
use crate::control::endpoint::Retries;
use crate::control::interface::InterfaceName;
use crate::control::quick::{self, Tunnel, World, file};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of a file in /etc/wireguard, without `.conf`; or any file, with a `/`.
    name: OsString,
    /// Let nothing leave but through the tunnel, as `#rvpn: KillSwitch = yes` in the file does.
    #[arg(long)]
    kill_switch: bool,
    /// Do without the kernel's driver, if there is one.
    #[arg(long, env = "RVPN_USERSPACE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) userspace: bool,
}

pub(super) fn run(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let tunnel = read(&arguments.name)?;
    let file = tunnel.path.display().to_string();
    let retries = retries(&tunnel.config)?;
    quick::up(tunnel, arguments.kill_switch, world, &mut |config, follows| resolve(config, follows, &file, retries))?;
    Ok(())
}

/// Reads the file that `name` names. All that is wrong with it is told at once.
pub(super) fn read(name: &OsStr) -> Result<Tunnel, Failure> {
    let (path, interface) = file::find(name)?;
    read_of(interface, path)
}

/// Reads the file from which `interface` was brought up. It may be called otherwise where a symbolic link named it.
pub(super) fn read_of(interface: InterfaceName, path: PathBuf) -> Result<Tunnel, Failure> {
    let read = secret_file::read(path.as_os_str())?;
    let file = path.display().to_string();
    let failed = |faults: Vec<Fault>| Failure::Config(ConfigError { file: file.clone(), faults });
    let (config, quick) = Config::parse_quick(&read.text).map_err(failed)?;
    read.warn_if_public();
    for warning in &config.warnings {
        warn(&format!("{file}:{warning}"));
    }
    Ok(Tunnel { interface, path, config, quick })
}

/// Reads how often to ask for the address of an endpoint, if one is needed.
pub(super) fn retries(config: &Config) -> Result<Retries, Failure> {
    match config.peers.iter().any(|peer| peer.endpoint.is_some()) {
        true => setconf::retries(),
        false => Ok(Retries(Some(0))),
    }
}

/// Finds the addresses of endpoints, or leaves them to the interface, if that `follows` names.
pub(super) fn resolve(mut config: Config, follows: bool, file: &str, retries: Retries) -> Result<Set, ConfigError> {
    let set = if follows {
        config.hand_over()
    } else {
        config.use_first_of_lists();
        config.resolve(retries, setconf::wait)
    };
    set.map_err(|faults| ConfigError { file: file.to_owned(), faults })
}
