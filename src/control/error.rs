//! What goes wrong for an operator, as sentences: the thing, what is wrong with it, the way out.
//!
//! Not here: exit codes (`cli/exit.rs`) and errno values (the `rvpn-uapi` crate).

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::interface::InvalidName;
use super::upgrade::UpgradeError;
use crate::aead::Unavailable;
use crate::platform::linux::tun::TunError;

/// Why the daemon did not start, or ended other than asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the interface is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Something answers on the socket of this interface.
    #[error("{interface} is already running: {} accepts connections; `ip link delete {interface}` ends it", path.display())]
    AlreadyRunning {
        /// The interface.
        interface: String,
        /// Its socket.
        path: PathBuf,
    },
    /// There is a file that is not a socket where the socket belongs.
    #[error("{}: there is something in the way that is not a socket; remove it", path.display())]
    NotASocket {
        /// Where the socket belongs.
        path: PathBuf,
    },
    /// The socket, or its directory, cannot be made or watched.
    #[error("{}: cannot {action}: {}", path.display(), reason(source))]
    Socket {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory with the files of peers cannot be followed.
    #[error("{}: cannot follow the peers in it: {}", path.display(), reason(source))]
    PeersDirectory {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The TUN device cannot be opened, or is none.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// An environment variable has a value that it cannot have.
    #[error("{variable}={}: {expected}", value.display())]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: OsString,
        /// What it should say.
        expected: &'static str,
    },
    /// `RVPN_AEAD` asks for what the processor has not.
    #[error("RVPN_AEAD: {0}")]
    Aead(#[from] Unavailable),
    /// The program for events is none.
    #[error("hook {}: {}", program.display(), reason(source))]
    Hook {
        /// The program.
        program: PathBuf,
        /// Why it cannot be started.
        source: io::Error,
    },
    /// The process could not be started again in the background.
    #[error("cannot start in the background: {}; `rvpn --foreground` needs no second process", reason(source))]
    Spawn {
        /// Why it failed.
        source: io::Error,
    },
    /// The process in the background reported why it cannot go on.
    #[error("{0}")]
    Background(String),
    /// Another process could not be followed.
    #[error("{interface} goes on as it was: {source}")]
    Upgrade {
        /// The interface.
        interface: String,
        /// Why.
        source: UpgradeError,
    },
    /// This is the process in the background, and the first one has been told why it ends: it is for that one to say.
    #[error("the first process has been told why this one ends")]
    Told,
    /// The process in the background ended without a word.
    #[error("the background process ended before it was ready ({0}); `LOG_LEVEL=verbose rvpn --foreground` shows why")]
    BackgroundEnded(String),
    /// A part of the operating system failed while starting.
    #[error("cannot {action}: {}", reason(source))]
    Start {
        /// What was tried, as a verb.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A thread without which the device does not work has ended.
    #[error("thread {name} failed: {interface} is shut down; please report this")]
    ThreadFailed {
        /// The interface.
        interface: String,
        /// The thread.
        name: String,
    },
    /// Metrics cannot be served there.
    #[error("cannot serve metrics at {address}: {}", reason(source))]
    Metrics {
        /// Where.
        address: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The configuration socket no longer accepts.
    #[error("{interface} is shut down: its socket no longer accepts connections: {}", reason(source))]
    Accept {
        /// The interface.
        interface: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// The text of an error of the operating system without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
