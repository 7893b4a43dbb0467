//! The process that starts the program for each event.
//!
//! Source: environ(7), for what a program may expect; setsid(2), killpg(3), for ending it with its children.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, setsid};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::turns::Turns;
use crate::control::error::Error;
use crate::control::event_record::{MISSED, Record};
use crate::control::interface::InterfaceName;

/// Starts `program` for each event that comes from the daemon on standard input, until that is closed.
///
/// # Errors
/// [`Error::Start`], in particular if a person has set the variable that says that this is the process of a hook.
pub fn run(program: &Path, interface: &InterfaceName) -> Result<(), Error> {
    let start = |source| Error::Start { action: "run the hook", source };
    // Else the process would be listed as `exe`.
    let _ = rustix::thread::set_name(c"rvpn-hooks");
    // Neither it nor what it starts is to have more than the daemon had.
    rustix::thread::set_no_new_privs(true).map_err(|error| start(error.into()))?;
    // A key pressed at the daemon's terminal is for the daemon, whose end is ours, too.
    let _ = setsid();
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(start)?);
    stream.set_nonblocking(true).map_err(start)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
    runtime.block_on(async {
        let events = tokio::net::UnixStream::from_std(stream).map_err(start)?;
        follow(events, program, interface, LIMITS).await.map_err(start)
    })
}

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Until it is asked to end (SIGTERM).
    patience: Duration,
    /// From then until it is ended (SIGKILL).
    grace: Duration,
}

const LIMITS: Limits = Limits { patience: Duration::from_secs(10), grace: Duration::from_secs(1) };

async fn follow(
    events: impl tokio::io::AsyncRead + Unpin,
    program: &Path,
    interface: &InterfaceName,
    limits: Limits,
) -> io::Result<()> {
    let mut lines = BufReader::new(events).lines();
    let mut turns: Turns<Option<String>, Record> = Turns::new();
    let mut running = JoinSet::new();
    let (mut is_over, mut missed) = (false, 0);
    while !is_over || !running.is_empty() {
        while let Some((peer, record)) = turns.next() {
            let command = command(program, interface.as_str(), &record);
            running.spawn(async move {
                if let Err(reason) = run_one(command, limits).await {
                    tracing::error!("The hook for `{}` {reason}", record.event);
                }
                peer
            });
        }
        tokio::select! {
            // Always read, also when there is no room: the end of the daemon comes this way.
            line = lines.next_line(), if !is_over => match line {
                Ok(Some(line)) => match Record::read(&line) {
                    Some(record) => {
                        if missed > 0 && turns.has_room() {
                            let event = MISSED.to_owned();
                            turns.push(None, Record { event, count: Some(missed), time: record.time.clone(), ..Record::default() });
                            missed = 0;
                        }
                        missed += u64::from(turns.push(record.public_key.clone(), record).is_some());
                    }
                    None => tracing::error!("A line from the daemon is no event"),
                },
                // What runs has its time; what waits has lost its sense.
                _ => {
                    is_over = true;
                    let left = turns.forget();
                    if left > 0 {
                        tracing::error!("The daemon has ended: {left} events have no hook run for them");
                    }
                }
            },
            Some(peer) = running.join_next() => turns.done(&peer?),
        }
    }
    Ok(())
}

/// The program with its environment: nothing of ours but what is named here.
fn command(program: &Path, interface: &str, record: &Record) -> Command {
    let mut command = std::process::Command::new(program);
    command.env_clear().env("PATH", PATH).env("TUN_DEV_NAME", interface);
    for (name, value) in variables(record) {
        command.env(name, value);
    }
    // A group of its own, which is ended as a whole.
    command.current_dir("/").stdin(Stdio::null()).process_group(0);
    command.into()
}

/// What the program is told. A variable that has no meaning for the event is not set.
fn variables(record: &Record) -> Vec<(&'static str, String)> {
    let port = |port: Option<u16>| port.map(|port| port.to_string());
    let count = record.count.filter(|_| record.event == MISSED).map(|count| count.to_string());
    [
        ("RVPN_EVENT", Some(record.event.clone())),
        ("RVPN_TIME", Some(record.time.clone())),
        ("RVPN_PEER", record.public_key.clone()),
        ("RVPN_PEER_NAME", record.name.clone()),
        ("RVPN_ENDPOINT", record.endpoint.clone()),
        ("RVPN_PREVIOUS_ENDPOINT", record.previous_endpoint.clone()),
        ("RVPN_ALLOWED_IP", record.allowed_ip.clone()),
        ("RVPN_OTHER_PEER", record.other_public_key.clone()),
        ("RVPN_OTHER_PEER_NAME", record.other_name.clone()),
        ("RVPN_LISTEN_PORT", port(record.listen_port)),
        ("RVPN_PREVIOUS_LISTEN_PORT", port(record.previous_listen_port)),
        ("RVPN_MISSED", count),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// Runs the program to its end.
async fn run_one(mut command: Command, limits: Limits) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    match timeout(limits.patience, child.wait()).await {
        Ok(status) => judge(status),
        Err(_) => {
            end(&mut child, limits.grace).await;
            Err(format!("took more than {:?} and was ended", limits.patience))
        }
    }
}

fn judge(status: io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed: {status}")),
        Err(error) => Err(format!("cannot be waited for: {error}")),
    }
}

/// Ends the program and what it has started in its group.
async fn end(child: &mut Child, grace: Duration) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    // Fails if it ended just now.
    let _ = kill_process_group(group, Signal::TERM);
    let _ = timeout(grace, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

/// Where programs are looked for by name.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests;
