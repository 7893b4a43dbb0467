//! The process that looks names up, `rvpn-names`: how it is started, what it is asked, and what it answers.
//!
//! ```text
//! vpn.example 51820                         name, firewall mark
//! vpn.example 300 2001:db8::1,192.0.2.1     name, seconds it is good for, addresses in the order to try them
//! vpn.example - no name server answers      name, why there are none
//! ```
//!
//! It may read files and use UDP; it may start nothing, write nothing, and of capabilities it has the one to mark
//! packets (see `platform::linux::hardening`). It ends when the daemon closes the connection.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore};

use super::dns;
use super::system::System;
use crate::platform::linux::hardening::Hardening;

/// Set for the process, and for nobody else: its standard input is the connection.
pub const VARIABLE: &str = "RVPN_NAMES";

/// What of the daemon's environment is the process's, too.
const PASSED_ON: [&str; 4] = ["LOG_LEVEL", "LOG_FORMAT", "JOURNAL_STREAM", "RVPN_HARDENING"];

/// Starts the process; returns the connection to it.
///
/// # Errors
/// The OS's, as where /proc is not mounted.
pub fn start() -> io::Result<StdUnixStream> {
    let (ours, theirs) = StdUnixStream::pair()?;
    Command::new("/proc/self/exe")
        .arg0("rvpn-names")
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env(VARIABLE, "1")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    Ok(ours)
}

/// Is the process, until the daemon ends.
///
/// # Errors
/// The OS's, in particular if a person has set the variable.
pub fn run(hardening: Hardening) -> io::Result<()> {
    let _ = rustix::thread::set_name(c"rvpn-names");
    let stream = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    // What there is before a tunnel puts its own servers in their place.
    let system = Arc::new(System::at_start());
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A service manager or a terminal signals all processes; this one ends with the daemon, not before it.
        let _caught = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        tracing::debug!("rvpn-names {}", hardening.confine_names());
        serve(UnixStream::from_std(stream)?, system).await
    })
}

async fn serve(stream: UnixStream, system: Arc<System>) -> io::Result<()> {
    let (questions, answers) = stream.into_split();
    let mut questions = BufReader::new(questions).lines();
    let answers = Arc::new(Mutex::new(answers));
    let places = Arc::new(Semaphore::new(MAX_LOOKUPS));
    while let Some(line) = questions.next_line().await? {
        let Some(question) = Question::parse(&line) else { continue };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let (answers, system) = (Arc::clone(&answers), Arc::clone(&system));
        tokio::spawn(async move {
            let found = dns::look_up(&question.host, question.mark, &system).await;
            let answer = Answer { host: question.host, found };
            // Nobody is there to be told if the daemon has gone, which the next line tells.
            let _ = answers.lock().await.write_all(answer.to_string().as_bytes()).await;
            drop(place);
        });
    }
    Ok(())
}

/// Names that are looked up at a time; others wait.
const MAX_LOOKUPS: usize = 64;

/// A line to the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) host: String,
    pub(super) mark: u32,
}

/// A line from the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) found: Result<(Vec<IpAddr>, Duration), String>,
}

impl Question {
    fn parse(line: &str) -> Option<Self> {
        let (host, mark) = line.split_once(' ')?;
        Some(Self { host: host.to_owned(), mark: mark.parse().ok()? })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.host, self.mark)
    }
}

impl Answer {
    /// Reads a line. The process is trusted to speak when it is asked, and with nothing more.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (host, rest) = line.split_once(' ')?;
        let (ttl, rest) = rest.split_once(' ')?;
        let found = match ttl {
            "-" => Err(rest.escape_debug().to_string()),
            ttl => {
                let addresses = rest.split(',').take(MAX_ADDRESSES).map(|address| address.parse().ok());
                Ok((addresses.collect::<Option<Vec<_>>>()?, Duration::from_secs(ttl.parse::<u32>().ok()?.into())))
            }
        };
        Some(Self { host: host.to_owned(), found })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Ok((addresses, ttl)) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                writeln!(f, "{} {} {}", self.host, ttl.as_secs(), addresses.join(","))
            }
            Err(reason) => writeln!(f, "{} - {}", self.host, reason.replace('\n', " ")),
        }
    }
}

/// Of one name; more are of no use (see `proto::candidates::MAX_CANDIDATES`).
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let question = Question { host: "vpn.example".to_owned(), mark: 51820 };
        assert_eq!(Question::parse(question.to_string().trim_end()), Some(question));
        let addresses = vec!["2001:db8::1".parse().expect("an address"), "192.0.2.1".parse().expect("an address")];
        for found in [Ok((addresses, Duration::from_secs(300))), Err("no name server answers".to_owned())] {
            let answer = Answer { host: "vpn.example".to_owned(), found };
            assert_eq!(Answer::parse(answer.to_string().trim_end()), Some(answer));
        }
        for line in ["", "a", "a 1", "a 1 ", "a 1 x", "a -1 192.0.2.1", "a 1 192.0.2.1,"] {
            assert_eq!(Answer::parse(line), None, "{line}");
        }
    }
}
