//! `rvpn upgrade`: another process goes on with an interface and its live sessions.
//!
//! This command starts that process and waits; what the two processes say to each other is in `control::upgrade`. It is
//! started from here, by whoever may become what the daemon was, because the daemon can start nothing.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;

use super::failure::Failure;
use crate::control::background::{Parent, READY};
use crate::control::daemon::{self, Options};
use crate::control::environment::{Environment, FOREGROUND, HANDOVER, RUN_DIR, SUPERVISION, UPGRADE};
use crate::control::error::Error;
use crate::control::host::Linux;
use crate::control::interface::InterfaceName;
use crate::control::log::{self, JOURNAL_STREAM, LOG_LEVEL, Level};
use crate::control::socket;
use crate::control::upgrade::taking::Taking;
use crate::control::upgrade::{PATIENCE, PREPARATION, UpgradeError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface.
    interface: OsString,
    /// The file of the program that is to go on; by default the one this command is.
    #[arg(long, value_name = "FILE", default_value = "/proc/self/exe")]
    program: PathBuf,
}

/// Starts the process and waits until it is the daemon, or has not become it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let interface = InterfaceName::new(&arguments.interface).map_err(Error::from)?;
    let failed = |source| Error::Upgrade { interface: interface.to_string(), source };
    let (channel, theirs) = UnixStream::pair().map_err(|source| Error::Spawn { source })?;
    let mut command = Command::new(&arguments.program);
    command
        .arg0("rvpn")
        .args(["--", interface.as_str()])
        .env(UPGRADE, "1")
        .env_remove(HANDOVER)
        .env_remove(FOREGROUND)
        .env_remove("WG_TUN_FD")
        .env_remove("WG_UAPI_FD")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for variable in SUPERVISION {
        command.env_remove(variable);
    }
    let started = command.spawn().map_err(|error| failed(error.into()))?;
    // The command holds the other end open, and we are to see when the process closes it.
    drop(command);
    match follow(channel) {
        Ok(said) => {
            println(&format!("{interface}: {said}"))?;
            Ok(())
        }
        Err(error) => Err(failed(give_up(started, error)).into()),
    }
}

/// Reads what the process says until it is done; returns that.
fn follow(mut channel: UnixStream) -> Result<String, UpgradeError> {
    channel.set_read_timeout(Some(PATIENCE))?;
    let mut first = [0];
    loop {
        channel.read_exact(&mut first)?;
        if first != [MET] {
            break;
        }
        // It prepares, and then the two wait for each other for a while.
        channel.set_read_timeout(Some(PREPARATION + 4 * PATIENCE))?;
    }
    let mut channel = BufReader::new(channel);
    if first == READY {
        let mut line = String::new();
        channel.read_line(&mut line)?;
        return Ok(line.trim_end().to_owned());
    }
    let mut text = first.to_vec();
    channel.read_to_end(&mut text)?;
    Err(UpgradeError::Told(String::from_utf8_lossy(&text).into_owned()))
}

/// Ends a process that has not become the daemon, and says why it did not.
fn give_up(mut started: Child, error: UpgradeError) -> UpgradeError {
    if matches!(error, UpgradeError::Silent) {
        // The daemon sees its end, and goes on at once if it was waiting.
        let _ = started.kill();
    }
    match (started.wait(), error) {
        (Ok(status), UpgradeError::Gone) => {
            UpgradeError::Told(format!("the new process ended before it could go on ({status})"))
        }
        (_, UpgradeError::Silent) => UpgradeError::Told("the new process said nothing and was ended".to_owned()),
        (_, error) => error,
    }
}

fn println(text: &str) -> Result<(), Failure> {
    use io::Write;
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Runs as the process that was started: takes over, and is the daemon then.
pub(super) fn take_over(interface: &InterfaceName) -> Result<(), Error> {
    let mut waiting = Some(Parent::meet_command()?);
    // Else the process would be listed as `exe`.
    let _ = rustix::thread::set_name(c"rvpn");
    let result = take_over_for(interface, &mut waiting);
    match (result, waiting) {
        (Err(error), Some(parent)) => {
            let text = match &error {
                // The command says the rest of the sentence.
                Error::Upgrade { source, .. } => source.to_string(),
                error => error.to_string(),
            };
            parent.failed(&text);
            Err(Error::Told)
        }
        (result, _) => result,
    }
}

fn take_over_for(interface: &InterfaceName, waiting: &mut Option<Parent>) -> Result<(), Error> {
    let failed = |source| Error::Upgrade { interface: interface.to_string(), source };
    let directory = std::env::var_os(RUN_DIR).filter(|value| !value.is_empty());
    let directory = directory.map_or_else(socket::default_directory, PathBuf::from);
    let mut taking = Taking::ask(&directory, interface).map_err(failed)?;
    if let Some(parent) = waiting {
        parent.tell(MET);
    }
    // As the daemon was started, so that what it was told holds on.
    let name = OsString::from("rvpn");
    let start = taking.start();
    let arguments = super::Arguments::try_parse_from(std::iter::once(&name).chain(&start.arguments));
    let arguments = arguments
        .map_err(|error| failed(UpgradeError::State(format!("the daemon's arguments are not understood: {error}"))))?;
    let environment = Environment::read(|name| arguments.daemon.variable(name).or_else(|| start.variable(name)))?;
    let level = Level::parse(start.variable(LOG_LEVEL).as_deref());
    taking.take_log().map_err(failed)?;
    let format = environment.log_format.settled(start.variable(JOURNAL_STREAM).as_deref());
    log::start(level, format, interface.as_str());
    let host = Linux::new(&environment);
    let options = Options { interface: interface.clone(), foreground: true, environment };
    let on_ready = |pause: Duration| {
        if let Some(parent) = waiting.take() {
            let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
            parent.done(&format!("process {pid} (rvpn {version}) goes on; packets waited {} us", pause.as_micros()));
        }
    };
    daemon::run_taken(taking, &options, &host, on_ready)
}

/// Says that the daemon has been reached: no text begins so.
const MET: u8 = 1;

const _: () = assert!(READY[0] != MET);
