//! The command line: words to actions, errors to sentences.
//!
//! Each command has a file of its own name. Not here: what the daemon does.

mod capture;
mod completions;
mod daemon_options;
mod doctor;
mod down;
mod exit;
mod failure;
mod forget;
mod genkey;
mod genpsk;
mod manual;
mod metrics;
mod monitor;
mod pair;
mod peer_word;
mod pubkey;
mod reload;
mod save;
mod secret_file;
mod set;
mod setconf;
mod show;
mod showconf;
mod strip;
mod syncconf;
mod terminal;
mod top;
mod up;
mod upgrade;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use self::daemon_options::DaemonOptions;
use self::exit::Exit;
use self::failure::Failure;
use super::client::Client;
use super::daemon::{self, Options};
use super::environment::{Environment, RUN_DIR, UPGRADE};
use super::error::Error;
use super::host::Linux;
use super::interface::InterfaceName;
use super::log::{self, LOG_LEVEL, Level};
use super::names;
use super::quick::{World, state};
use super::socket;
use crate::platform::linux::process;

/// Runs the program with its arguments and environment.
pub fn run() -> ExitCode {
    if std::env::var_os(names::process::VARIABLE).is_some() {
        return run_names().into();
    }
    let exit = if std::env::args_os().len() <= 1 { usage() } else { parse_and_run() };
    exit.into()
}

/// WireGuard in user space, and its tools.
///
/// `rvpn INTERFACE` makes the interface INTERFACE, then runs in the background until the interface is deleted. The
/// commands are those of wg(8) and speak to the kernel's driver and to any WireGuard that has a socket in
/// /var/run/wireguard. wg(8) and wg-quick(8) work as well; `WG_QUICK_USERSPACE_IMPLEMENTATION=rvpn` makes the latter
/// use this program where the kernel has no WireGuard.
#[derive(Debug, Parser)]
#[command(version, after_help = ENVIRONMENT, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    #[command(flatten)]
    daemon: daemon_options::DaemonOptions,
    /// The interface to make: 1 to 15 characters.
    #[arg(required = true)]
    interface: Option<OsString>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show interfaces: configuration, peers, handshakes, traffic.
    Show(show::Arguments),
    /// Watch peers live: rates, handshakes, what is dropped.
    ///
    /// `LOST` is how many packets of a peer this end dropped within the last 60 looks, which rvpn alone tells. What the network
    /// lost on the way is not in it: nobody here knows of that.
    Top(top::Arguments),
    /// Print what a daemon counts, for Prometheus.
    Metrics(metrics::Arguments),
    /// Print what happens to the peers of an interface, as it happens, until its daemon ends.
    Monitor(monitor::Arguments),
    /// Print the configuration of an interface, for `setconf`.
    Showconf(showconf::Arguments),
    /// Change an interface: its keys and ports, its peers.
    Set(set::Arguments),
    /// Make a file the configuration of an interface.
    Setconf(setconf::Arguments),
    /// Add a file to the configuration of an interface.
    Addconf(setconf::Arguments),
    /// Make a file the configuration, without interrupting peers that stay.
    Syncconf(setconf::Arguments),
    /// Drop sessions and learnt endpoints of a peer, and keep what is configured.
    Forget(forget::Arguments),
    /// Print a new private key.
    Genkey(genkey::Arguments),
    /// Print a new preshared key.
    Genpsk(genkey::Arguments),
    /// Read a private key from standard input and print its public key.
    Pubkey,
    /// Bring up a tunnel from its file: addresses, routes, rules, DNS.
    Up(up::Arguments),
    /// Take away what `up` made.
    Down(down::Arguments),
    /// Apply a changed file to a tunnel that is up, without dropping a session.
    Reload(down::Arguments),
    /// Write what a tunnel has become to its file.
    Save(down::Arguments),
    /// Print a file without what only `up` reads.
    Strip(strip::Arguments),
    /// Say why a tunnel does not work, and what mends it.
    Doctor(doctor::Arguments),
    /// Let this program, or another file of it, go on where the process of an interface stops; no session is lost.
    Upgrade(upgrade::Arguments),
    /// Write what passes an interface, or its UDP port, to a file for tcpdump or Wireshark.
    Capture(capture::Arguments),
    /// Print configuration files for both ends of a new tunnel.
    Pair(pair::Arguments),
    /// Print a script that completes this command line in a shell.
    #[command(hide = true)]
    Completions(completions::Arguments),
    /// Print a manual page.
    #[command(hide = true)]
    Manual(manual::Arguments),
}

const ENVIRONMENT: &str = "\
Environment of the daemon:
  LOG_LEVEL=verbose|error|silent  How much to log to standard error; `debug` is `verbose`; default: error.
                                  In the background, nothing is logged unless this is set
  LOG_FORMAT=text|json|journal    In which form; `journal` is systemd's, with fields; default: `journal` if standard
                                  error is connected to it, else `text`
  WG_PROCESS_FOREGROUND=1         The same as --foreground
  WG_TUN_FD=N                     Use the TUN device that is open as file N instead of opening INTERFACE
  RVPN_WORKERS=N                  Let N threads carry packets; default: as many as there are cores
  RVPN_OFFLOAD=auto|unequal|off   Leave segmentation to the kernel where it can do it; default: auto
  RVPN_HARDENING=auto|off|LIST    What the daemon gives up once it runs; LIST: no-dumps, no-memory, no-capabilities,
                                  no-landlock, no-seccomp; default: auto, all that the kernel has
  RVPN_METRICS=ADDRESS            The same as --metrics
  RVPN_AEAD=auto|avx512|aws-lc    How packets are sealed: many at once or one by one; default: auto
  RVPN_HOOK, RVPN_PEERS_DIR, RVPN_LISTEN, RVPN_BIND_DEVICE, RVPN_NETNS
                                  The same as --hook, --peers-dir, --listen, --bind-device, --netns
  WG_UAPI_FD=N                    Use the socket that listens as file N instead of making one
  NOTIFY_SOCKET=ADDRESS           Tell the service manager there when ready and when stopping
  WATCHDOG_USEC=N                 Give it signs of life that it gets only while every thread comes round

Environment of the commands:
  WG_COLOR_MODE=always|never      Whether `show` has colours; default: on a terminal, unless NO_COLOR is set
  WG_HIDE_KEYS=never              Let `show` print private and preshared keys
  RVPN_USERSPACE=1                Let `up` do without the kernel's driver, if there is one
  WG_ENDPOINT_RESOLUTION_RETRIES=N|infinity
                                  How often to ask again for the address of an endpoint; default: 15

Examples:
  rvpn wg0                        Make wg0 and return when it can be configured
  rvpn setconf wg0 wg0.conf       Configure it
  rvpn show --watch               Watch its peers
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
    match arguments {
        Arguments { command: Some(command), .. } => finish(run_command(&command)),
        Arguments { interface, foreground, daemon, .. } => {
            match run_daemon(&interface.expect("required where there is no command"), foreground, &daemon) {
                Ok(()) => Exit::Success,
                Err(Error::Told) => Exit::Failure,
                Err(error) => {
                    tell(&error.to_string());
                    Exit::Failure
                }
            }
        }
    }
}

fn run_daemon(interface: &OsString, foreground: bool, options: &DaemonOptions) -> Result<(), Error> {
    process::inherit_no_further();
    let interface = InterfaceName::new(interface)?;
    if std::env::var_os(UPGRADE).is_some() {
        return upgrade::take_over(&interface);
    }
    let environment = Environment::read(|name| options.variable(name).or_else(|| std::env::var_os(name)))?;
    log::start(Level::parse(std::env::var_os(LOG_LEVEL).as_deref()), environment.log_format, interface.as_str());
    let host = Linux::new(&environment);
    daemon::run(&Options { interface, foreground, environment }, &host)
}

/// Is the process that looks names up for a daemon.
fn run_names() -> Exit {
    let environment = Environment::read(|name| std::env::var_os(name)).unwrap_or_default();
    log::start(Level::parse(std::env::var_os(LOG_LEVEL).as_deref()), environment.log_format, "names");
    match names::process::run(environment.hardening) {
        Ok(()) => Exit::Success,
        Err(error) => {
            tracing::error!("Looking names up: {error}");
            Exit::Failure
        }
    }
}

fn run_command(command: &Command) -> Result<(), Failure> {
    let directory = std::env::var_os(RUN_DIR).filter(|value| !value.is_empty());
    let directory = directory.map_or_else(socket::default_directory, PathBuf::from);
    let client = Client::new(directory.clone());
    let world = |userspace| world(directory, userspace);
    match command {
        Command::Show(arguments) => show::run(arguments, &client),
        Command::Top(arguments) => top::run(arguments, &client),
        Command::Metrics(arguments) => metrics::run(arguments, &client),
        Command::Monitor(arguments) => monitor::run(arguments, &client),
        Command::Showconf(arguments) => showconf::run(arguments, &client),
        Command::Set(arguments) => set::run(arguments, &client),
        Command::Setconf(arguments) => setconf::run(arguments, &client),
        Command::Addconf(arguments) => setconf::run_add(arguments, &client),
        Command::Syncconf(arguments) => syncconf::run(arguments, &client),
        Command::Forget(arguments) => forget::run(arguments, &client),
        Command::Genkey(arguments) => genkey::run(arguments),
        Command::Genpsk(arguments) => genpsk::run(arguments),
        Command::Pubkey => pubkey::run(),
        Command::Up(arguments) => up::run(arguments, &world(arguments.userspace)?),
        Command::Down(arguments) => down::run(arguments, &world(false)?),
        Command::Reload(arguments) => reload::run(arguments, &world(false)?),
        Command::Save(arguments) => save::run(arguments, &world(false)?),
        Command::Strip(arguments) => strip::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments, &client),
        Command::Upgrade(arguments) => upgrade::run(arguments),
        Command::Capture(arguments) => capture::run(arguments, &client),
        Command::Pair(arguments) => pair::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Manual(arguments) => manual::run(arguments),
    }
}

/// What the words of wg-quick work on.
fn world(socket_directory: PathBuf, userspace: bool) -> Result<World, Failure> {
    // The process of an interface, and commands of its file, are to have nothing that is ours or our caller's.
    process::inherit_no_further();
    let environment = Environment::read(|name| std::env::var_os(name))?;
    let client = Client::new(socket_directory.clone());
    Ok(World { client, socket_directory, state_directory: state::default_directory(), environment, userspace })
}

fn finish(outcome: Result<(), Failure>) -> Exit {
    match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            if !failure.is_told() && !failure.is_unread() {
                tell(&failure.to_string());
            }
            Exit::Failure
        }
    }
}

/// Says what went wrong, each line of it. A terminal that is gone reads nothing.
fn tell(message: &str) {
    for line in message.lines() {
        let _ = writeln!(std::io::stderr(), "rvpn: {line}");
    }
}

/// Says what is odd and no error.
fn warn(message: &str) {
    let _ = writeln!(std::io::stderr(), "rvpn: warning: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::interface::NameFault;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_interface_can_have_the_name_of_a_command() {
        for command in Arguments::command().get_subcommands() {
            let fault = InterfaceName::new(command.get_name().as_ref()).expect_err("reserved").fault;
            assert_eq!(fault, NameFault::Command, "{}", command.get_name());
        }
    }
}
