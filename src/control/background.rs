//! Going to the background: the program starts itself again, detached, and waits until that one is ready.
//!
//! ```text
//!   first process                           second process (standard input: a socket to the first)
//!   opens TUN and configuration socket
//!   socketpair, spawn  ------------------>  new session
//!   SCM_RIGHTS: TUN, listener  ---------->  runs the device
//!   returns 0            <-- READY -------  accepts
//!   prints it, returns 1 <-- text  -------  or says why not
//! ```
//!
//! Forking instead is impossible with threads and needs unsafe code; numbers of inherited files, as wireguard-go passes
//! them, say nothing of whether the second process runs. `wg-quick` deletes the interface if we fail and uses the device at once if we
//! do not, so success must mean that the second process accepts.
//!
//! Not here: what the second process does (see `daemon`).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::setsid;

use super::environment::{FOREGROUND, HANDOVER, SUPERVISION};
use super::error::Error;
use super::files;
use super::interface::InterfaceName;
use super::log::{LOG_LEVEL, Level};
use crate::platform::linux::process;

/// Returns the command that is this program again, for `interface`.
pub fn command(interface: &InterfaceName) -> Command {
    // Also right when the file was replaced by a newer one since the start.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("rvpn").arg("--").arg(interface.as_str());
    command
}

/// Starts `command` as the second process with these files, and waits until it is ready.
///
/// # Errors
/// [`Error::Spawn`], or what the second process reports; it has ended then.
pub fn start(mut command: Command, tun: &OwnedFd, listener: &UnixListener) -> Result<Child, Error> {
    let spawn = |source| Error::Spawn { source };
    let (mut channel, theirs) = UnixStream::pair().map_err(spawn)?;
    let level = std::env::var_os(LOG_LEVEL).filter(|value| !value.is_empty());
    let keeps_output = level.is_some_and(|value| Level::parse(Some(&value)) != Level::Silent);
    let output = || if keeps_output { Stdio::inherit() } else { Stdio::null() };
    command
        .env(FOREGROUND, "1")
        .env(HANDOVER, "1")
        .env_remove("WG_TUN_FD")
        .env_remove("WG_UAPI_FD")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(output())
        .stderr(output());
    for variable in SUPERVISION {
        command.env_remove(variable);
    }
    let mut child = command.spawn().map_err(spawn)?;
    // The command holds the other end open, and we are to see when the second process closes it.
    drop(command);
    files::send(&channel, &[tun.as_fd(), listener.as_fd()]).map_err(spawn)?;

    let mut first = [0];
    match channel.read(&mut first) {
        Ok(1) if first == READY => return Ok(child),
        Ok(1) => {
            let mut text = first.to_vec();
            // A text that is cut off is still better than none.
            let _ = channel.read_to_end(&mut text);
            let _ = child.wait();
            return Err(Error::Background(String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(_) | Err(_) => {}
    }
    Err(Error::BackgroundEnded(child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())))
}

/// The process that waits for this one to be ready.
#[derive(Debug)]
pub struct Parent {
    channel: UnixStream,
}

impl Parent {
    /// Detaches from the terminal of the first process and takes the files from it.
    ///
    /// # Errors
    /// [`Error::Start`], in particular if a person has set the variable that says there is a first process.
    pub fn meet() -> Result<(Self, OwnedFd, UnixListener), Error> {
        let start = |source| Error::Start { action: "take over the files of the first process", source };
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(start)?);
        // Fails only for the leader of a process group, which a spawned process is not.
        let _ = setsid();
        let [tun, listener] = files::receive(&channel, 2).map_err(start)?.try_into().expect("two were asked for");
        Ok((Self { channel }, tun, listener.into()))
    }

    /// Meets one that has no files to give: `rvpn upgrade`.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn meet_command() -> Result<Self, Error> {
        let start = |source| Error::Start { action: "reach the command that waits", source };
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(start)?);
        let _ = setsid();
        Ok(Self { channel })
    }

    /// Says something that is no end of it yet.
    pub fn tell(&mut self, byte: u8) {
        let _ = self.channel.write_all(&[byte]);
    }

    /// Says that the device and its socket are ready.
    pub fn ready(mut self) {
        // If the first process was killed, the second is still of use.
        let _ = self.channel.write_all(&READY);
    }

    /// Says that all is done, and a line about it. The line's end is that of the talk: standard input stays open.
    pub fn done(mut self, line: &str) {
        let _ = self.channel.write_all(&[&READY, line.as_bytes(), b"\n"].concat());
    }

    /// Says why this process ends.
    pub fn failed(mut self, error: impl std::fmt::Display) {
        let _ = write!(self.channel, "{error}");
    }
}

/// Takes a file that the environment names by its number.
///
/// # Errors
/// [`Error::Environment`] if there is no such file.
pub fn inherited(variable: &'static str, number: RawFd) -> Result<OwnedFd, Error> {
    process::adopt_inherited(number).map_err(|_| Error::Environment {
        variable,
        value: number.to_string().into(),
        expected: "there is no open file of this number",
    })
}

/// No text begins so.
pub(super) const READY: [u8; 1] = [0];

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_number_without_a_file_is_an_error_that_names_it() {
        let error = inherited("WG_TUN_FD", 1_000_000).expect_err("no such file");
        assert_eq!(error.to_string(), "WG_TUN_FD=1000000: there is no open file of this number");
    }

    #[test]
    fn a_file_is_found_by_its_number() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let found = inherited("WG_UAPI_FD", theirs.as_raw_fd()).expect("it is open");
        drop(theirs);
        UnixStream::from(found).write_all(b"x").expect("still connected");
        let mut byte = [0];
        ours.read_exact(&mut byte).expect("a byte");
        assert_eq!(&byte, b"x");
    }
}
