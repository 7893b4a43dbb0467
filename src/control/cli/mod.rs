//! The command line: words to actions, errors to sentences.
//!
//! Not here: what the actions do.

mod exit;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use self::exit::Exit;
use super::daemon::{self, Options};
use super::environment::Environment;
use super::error::Error;
use super::host::Linux;
use super::interface::InterfaceName;
use super::log::{self, LOG_LEVEL, Level};
use crate::platform::linux::process;

/// Runs the program with its arguments and environment.
pub fn run() -> ExitCode {
    let exit = if std::env::args_os().len() <= 1 { usage() } else { parse_and_run() };
    exit.into()
}

/// WireGuard in user space.
///
/// Makes the interface INTERFACE, then runs in the background until the interface is deleted. Configure it with wg(8)
/// or wg-quick(8); `WG_QUICK_USERSPACE_IMPLEMENTATION=rvpn` makes the latter use this program where the kernel has no
/// WireGuard.
#[derive(Debug, Parser)]
#[command(version, after_help = ENVIRONMENT)]
struct Arguments {
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    /// The interface to make: 1 to 15 characters.
    interface: OsString,
}

const ENVIRONMENT: &str = "\
Environment:
  LOG_LEVEL=verbose|error|silent  How much to log to standard error; `debug` is `verbose`; default: error.
                                  In the background, nothing is logged unless this is set
  WG_PROCESS_FOREGROUND=1         The same as --foreground
  WG_TUN_FD=N                     Use the TUN device that is open as file N instead of opening INTERFACE
  RVPN_WORKERS=N                  Let N threads carry packets; default: as many as there are cores
  RVPN_OFFLOAD=auto|off           Leave segmentation to the kernel where it can do it; default: auto
  WG_UAPI_FD=N                    Use the socket that listens as file N instead of making one

Examples:
  rvpn wg0                        Make wg0 and return when it can be configured
  wg setconf wg0 wg0.conf         Configure it
  ip link delete wg0              End it";

/// As wireguard-go: no arguments are a question, not a mistake.
fn usage() -> Exit {
    match Arguments::command().print_help() {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Failure,
    }
}

fn parse_and_run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // A terminal that is gone reads no answer.
            let _ = answer.print();
            return match answer.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Success,
                _ => Exit::Failure,
            };
        }
    };
    match run_daemon(&arguments) {
        Ok(()) => Exit::Success,
        Err(Error::Told) => Exit::Failure,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "rvpn: {error}");
            Exit::Failure
        }
    }
}

fn run_daemon(arguments: &Arguments) -> Result<(), Error> {
    process::inherit_no_further();
    let interface = InterfaceName::new(&arguments.interface)?;
    let environment = Environment::read(|name| std::env::var_os(name))?;
    log::start(Level::parse(std::env::var_os(LOG_LEVEL).as_deref()));
    let host = Linux::new(&environment);
    daemon::run(&Options { interface, foreground: arguments.foreground, environment }, &host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
