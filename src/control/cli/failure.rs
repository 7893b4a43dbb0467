//! Why a command did not do what it was asked, as sentences for standard error.
//!
//! Not here: exit codes (see `exit`), and the daemon's reasons (see `control::error`).

use std::ffi::OsString;
use std::io;

use crate::control::client::ClientError;
use crate::control::config::ConfigError;
use crate::control::error::{Error, reason};
use crate::control::quick::QuickError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The interface.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A configuration file; a line for each fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tunnel is not brought up, down or changed.
    #[error(transparent)]
    Quick(#[from] QuickError),
    /// The environment of the process that runs an interface.
    #[error(transparent)]
    Daemon(#[from] Error),
    /// A file cannot be read or made.
    #[error("{}: cannot {action} it: {}", file.display(), reason(source))]
    File {
        /// Its name.
        file: OsString,
        /// What was tried, as a verb.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A word of the command line, or what it names, is not what it should be.
    #[error("{word}: {expected}")]
    Word {
        /// The word, with what it belongs to.
        word: String,
        /// What it should be.
        expected: String,
    },
    /// Standard output cannot be written to.
    #[error("standard output: {}", reason(.0))]
    Output(#[from] io::Error),
    /// There were interfaces, and each that failed has been told.
    #[error("none of the interfaces can be accessed")]
    NoneAccessible,
    /// A tunnel does not work, and standard output has the reason.
    #[error("something is wrong")]
    Unwell,
}

impl Failure {
    /// Returns whether all has been said.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::Unwell)
    }

    /// Returns whether nobody is there any more to read what is written, as after `rvpn show | head -1`.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
